#pragma once
// What one rank holds of a run and one update of it: network, own masters, optimizer, gradient tree. It knows no files.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "comm/flat_shards.hpp"
#include "comm/gradient_tree.hpp"
#include "comm/grid.hpp"
#include "config/run_config.hpp"
#include "io/checkpoint.hpp"
#include "io/checkpoint_reader.hpp"
#include "model/network.hpp"
#include "optim/optimizer.hpp"
#include "train/weight_gather.hpp"

namespace hrm::train {

/// Wall seconds by section, mean over ranks, between the scalar sums of two steps: what follows a step's sum (its
/// update, the sum's own wait) counts in the next one.
struct StepSeconds {
  double data = 0;
  double forward = 0;
  double backward = 0;
  double communication = 0;  ///< exposed: waiting for gradients, scalars and weights, and all of the tensor group
  double optimizer = 0;
};

/// What ranks tell each other once a step, in the sum that carries loss and norm.
struct Votes {
  double stop = 0;     ///< this rank wants to stop; summed: how many do
  double save = 0;     ///< rank 0 finds a save due
  double written = 0;  ///< this rank's part of the save under way is on disk
};

/// Result of one update, the same on every rank.
struct StepResult {
  model::PackSums sums;  ///< over all packs of the batch, added in pack order
  double gradient_norm = 0;
  Votes votes;  ///< summed over all ranks
  bool finite = true;
  bool updated = false;
  StepSeconds seconds;
};

/// Whether the step's gradient is to be used; called when the result's sums, norm and votes are known, just before
/// weights and optimizer state change. Must decide the same on every rank.
using Accept = std::function<bool(const StepResult&)>;

/// Gives elements [first, first + values.size()) of the slice of one row of the table.
using ValueSource = std::function<void(const Parameter& row, std::int64_t first, std::span<float> values)>;

class Learner {
 public:
  /// `config` is complete. Allocates everything a step needs. `grid` outlives this object.
  Learner(comm::Grid& grid, const config::RunConfig& config, Precision precision);

  /// Waits for weights on their way, for their buffers must outlive the transfer; not while an exception unwinds.
  ~Learner();
  Learner(const Learner&) = delete;
  Learner& operator=(const Learner&) = delete;

  /// A new run: moments zero, EMA = weights. Collective. The first form takes the initial values of the seed (golden
  /// A.2), the second any (zL_init included).
  void initialise();
  void initialise(const ValueSource& values);
  /// Weights, moments and EMA of a checkpoint, whatever layout wrote it. Where it has no EMA or first moment although
  /// this run keeps one, they start from the weights and from zero; returns what was missing, empty for nothing. Reads
  /// only; `loaded()` follows on all ranks when all have read.
  std::string restore(const io::CheckpointReader& checkpoint);
  /// Sends the weights to all ranks' networks. Collective.
  void loaded();
  /// The same again, with the digest of each bucket as it was loaded here, and last that of zL_init: the same on all
  /// ranks that hold the same slices. What memory of a network lost since the last update is set right. Collective.
  std::vector<std::uint64_t> reload();
  /// Digests of the same buckets as they lie in this rank's network, in layouts of its matrix library: to be compared
  /// with this rank's own only. Waits for weights on their way.
  std::vector<std::uint64_t> memory_digests();

  /// Algorithms of matrix products in use, as text for a checkpoint; empty on the host.
  const std::string& product_choices() const { return product_choices_; }
  /// Goes on with those of a checkpoint that was computed alike; empty: none are known. Collective.
  void use_product_choices(const std::string& choices);

  /// This rank's packs of the batch, in order.
  comm::PackRange share() const { return tree_.share(); }

  /// Seconds that the step's batch took to be ready: joins the other sections' in StepResult.
  void add_data_seconds(double seconds) { seconds_.data += seconds; }
  /// Drives transfers under way; call it around work that this class does not know.
  void poll() { gather_.poll(); }

  /// Per step: begin_step, one accumulate per own pack in order, finish_step. Collective.
  void begin_step();
  void accumulate(const model::PackView& pack, model::Horizon horizon, double divisor);
  /// Reduces gradients, sums and votes; updates if everything is finite and `accept` (none: yes) agrees. The new
  /// weights are on their way when it returns: they arrive while the next batch is made ready and in the next forward
  /// pass.
  StepResult finish_step(model::Horizon horizon, double learning_rate, const Votes& votes = {},
                         const Accept& accept = {});

  /// This rank's parts of every tensor in host memory, for a checkpoint. On the host they are the state itself, valid
  /// until the next update. From a device they are copied when they are first asked for after an update, into memory
  /// that the first call takes, and valid until they are copied again.
  std::vector<io::TensorPart> checkpoint_parts();
  /// Whether they are such a copy, which updates leave alone.
  bool copies_parts() const { return !grid_.device->is_host(); }
  /// This rank's parts of the last step's gradient sums, "/gradient/NAME"; valid until the next begin_step.
  std::vector<io::TensorPart> gradient_parts();

  /// With the masters loaded, unless load_average() came last; waits for weights on their way.
  model::Network& network();
  const ParameterTable& table() const { return network_->table(); }
  std::span<const float> zl_init() const { return zl_init_; }

  /// Loads the EMA (the masters where there is none) or the masters into the network. Collective.
  void load_average();
  void load_masters();
  /// The same for another holder of this rank's slices: calls load(bucket, values in compute type) for every bucket.
  void send_average(const WeightGather::Load& load);

 private:
  class Sink;
  using Give = std::function<void(std::span<float> values)>;
  /// Elements [first, first + count) of a state of the share, given in host memory.
  void set(Buffer<float>& state, std::int64_t first, std::int64_t count, const Give& give);
  /// `values` where the host can read them: as they are, or copied to `mirror`.
  const float* on_host(const Buffer<float>& values, Buffer<float>& mirror);
  Device& device() { return *grid_.device; }
  /// Parts that this rank writes; `values` is the flat array or the own share, in host memory.
  std::vector<io::TensorPart> parts_of(const std::string& folder, const float* values, bool flat, bool counted);
  void share_scalars(StepResult& result, const Votes& votes);
  void start_square_sums();
  void add_square_sums();
  void take_seconds();
  void gather_gradient();
  void send_masters();
  std::uint64_t digest_of(std::span<const std::byte> values);

  comm::Grid& grid_;
  config::RunConfig config_;
  std::unique_ptr<model::Network> network_;
  comm::FlatShards owned_;      ///< who updates what: all of it on every rank with zero = 0
  comm::FlatShards written_;    ///< who writes and sums what
  Buffer<float> weights_;       ///< float32 masters of the own share
  std::vector<float> zl_init_;  ///< (D), exactly bfloat16
  optim::Optimizer optimizer_;
  comm::GradientTree tree_;
  comm::BucketGather gather_gradient_;  ///< zero = 0
  WeightGather gather_;
  std::vector<int> rows_left_;         ///< by bucket: rows whose gradient of the current pack is not final
  std::vector<double> scalars_;        ///< votes, sums per pack, square sums per flat block of every tensor rank
  Buffer<model::PackSums> pack_sums_;  ///< of the own packs; the device writes them
  std::int64_t packs_done_ = 0;
  Event packs_end_;                       ///< the device is done with a step's packs
  Buffer<double> square_sums_;            ///< of the own flat blocks, on the device …
  Buffer<double> host_square_sums_;       ///< … and where the host reads them
  Buffer<std::uint64_t> digest_scratch_;  ///< of digest_of, its sum last; on devices only
  std::array<Buffer<float>, 4> mirrors_;  ///< host copies of weights and optimizer state, on devices only
  bool mirrored_ = false;                 ///< they are up to date
  std::vector<float> gradient_mirror_;    ///< of gradient_parts(), on devices only
  std::string product_choices_;
  StepSeconds seconds_;
  int exceptions_at_start_;
};

}  // namespace hrm::train
