#pragma once
// The network on one rank: a pack and a divisor go in, sums and gradients come out. It knows no ranks but those of its
// tensor-parallel group, and no files.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/device.hpp"
#include "base/parameter.hpp"
#include "config/run_config.hpp"
#include "model/head.hpp"
#include "model/pack_view.hpp"
#include "model/tensor_parallel.hpp"
#include "model/unroll.hpp"

namespace hrm::model {

/// Where a pack's gradient goes.
class GradientSink {
 public:
  virtual ~GradientSink() = default;
  /// Flat array in the layout of the parameter table, in memory of the network's device; the backward pass adds to it,
  /// so it comes in zeroed.
  virtual std::span<float> flat() = 0;
  /// Row `row` of the table is final for this pack: the reduction may start.
  virtual void done(int row) = 0;
  /// Called between operations of the backward pass, so that transfers under way go on.
  virtual void poll() {}
};

/// Every intermediate of one forward pass, for validation.
struct Inspection {
  PackSums sums;
  std::vector<std::pair<std::string, std::vector<float>>> trace;  ///< step name, its output (slots, D)
  std::vector<float> z;                                           ///< (slots, D)
  std::vector<float> logits;                                      ///< (slots, V)
};

/// Where the time of packs went. On a device an exchange of the tensor group counts in the pass that it is part of.
struct PackSeconds {
  double forward = 0;        ///< until the backward pass began, without exchanges
  double backward = 0;       ///< from there on, without exchanges
  double communication = 0;  ///< in exchanges of the tensor group, forward and backward
};

/// What a network is built for: evaluation keeps no record for a backward pass.
enum class Purpose { training, evaluation };

class Network {
 public:
  /// `config` is complete (config::complete_model); every pack has exactly `slots` slots. All memory is allocated and
  /// every matrix product prepared here: the calls below allocate nothing.
  /// With `parallel` the network is one rank's part: every call with a pack is collective over the group, all ranks
  /// give the same pack and get the same sums.
  static std::unique_ptr<Network> make(const config::ModelConfig& config, Precision precision, std::int64_t slots,
                                       Purpose purpose, bool recompute = false, const TensorParallel& parallel = {},
                                       Device& device = host_device());
  virtual ~Network() = default;

  /// Slices of this rank.
  virtual const ParameterTable& table() const = 0;
  /// Whether a row gets a gradient at this horizon (golden A.10: none differs from zero).
  virtual bool has_gradient(int row, Horizon horizon) const = 0;

  /// Casts and reorders all masters (layout: table()) and the constant (empty for a transformer), both in host memory.
  virtual void load(std::span<const float> flat, std::span<const float> zl_init) = 0;
  /// Reorders one bucket, given in the compute type in memory of the device: bucket.range.count() elements of float or
  /// bf16.
  virtual void load_bucket(int bucket, std::span<const std::byte> values) = 0;
  virtual void load_constant(std::span<const float> zl_init) = 0;
  /// What a bucket has become in the device's memory (ModelWeights::memory).
  virtual std::vector<std::span<const std::byte>> weight_memory(int bucket) const = 0;
  /// Buckets in the order in which a forward pass first uses them.
  virtual std::vector<int> bucket_order() const = 0;
  /// Asked for every bucket before each use in a forward pass, those that are recomputed too; null: all are loaded.
  /// Stays alive.
  virtual void set_feed(WeightFeed* feed) = 0;

  /// One pack forward and backward; the loss is loss_sum / divisor (golden B.2). On a device the work is only put on
  /// its stream compute(): `sums`, in its staging() memory, are there when that is done.
  virtual void forward_backward(const PackView& pack, Horizon horizon, double divisor, GradientSink& sink,
                                PackSums& sums) = 0;
  /// The same, and waits.
  PackSums forward_backward(const PackView& pack, Horizon horizon, double divisor, GradientSink& sink);
  virtual PackSums evaluate(const PackView& pack) = 0;
  virtual Device& device() const = 0;
  /// Losses of the supervised rows of the last evaluated pack, in order.
  virtual std::span<const float> row_losses() const = 0;
  /// Of all packs since the last call; their work is done. On a device by its own clock.
  virtual PackSeconds take_seconds() = 0;
  /// Before the host waits for the device: the end of the tensor group's exchanges, or InputError(lost_peer).
  virtual void finish_exchanges() = 0;

  /// Slow, allocates: everything that golden files list.
  virtual Inspection inspect(const PackView& pack) = 0;
};

}  // namespace hrm::model
