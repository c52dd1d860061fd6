#pragma once
// What one rank holds of a run and one update of it: network, masters, optimizer, gradient tree. It knows no files.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "comm/communicator.hpp"
#include "comm/gradient_tree.hpp"
#include "config/run_config.hpp"
#include "io/checkpoint.hpp"
#include "io/checkpoint_reader.hpp"
#include "model/network.hpp"
#include "optim/optimizer.hpp"

namespace hrm::train {

/// Wall seconds of one update by section.
struct StepSeconds {
  double data = 0;
  double forward = 0;
  double backward = 0;
  double communication = 0;  ///< exposed: waiting in reductions and gathers
  double optimizer = 0;
};

/// Result of one update, the same on every rank.
struct StepResult {
  model::PackSums sums;  ///< over all packs of the batch, added in pack order
  double gradient_norm = 0;
  double stop_votes = 0;  ///< ranks that want to stop
  double save_votes = 0;  ///< not 0: rank 0 finds a save due
  bool finite = true;
  StepSeconds seconds;
};

class Learner {
 public:
  /// `config` is complete. Allocates everything a step needs.
  Learner(comm::Communicator& group, const config::RunConfig& config, Precision precision);

  /// New run: initial values from the seed (golden A.2), moments zero, EMA = weights.
  void initialise();
  /// A new run from given weights (layout of table()): moments zero, EMA = weights.
  void initialise_from(std::span<const float> flat, std::span<const float> zl_init);
  /// Weights, moments and EMA of a checkpoint, whatever layout wrote it. Where it has no EMA or first moment although
  /// this run keeps one, they start from the weights and from zero; returns what was missing, empty for nothing.
  std::string restore(const io::CheckpointReader& checkpoint);

  /// This rank's packs of the batch, in order.
  comm::PackRange share() const { return tree_.share(); }

  /// Per step: begin_step, one accumulate per own pack in order, finish_step. Collective.
  void begin_step();
  void accumulate(const model::PackView& pack, model::Horizon horizon, double divisor);
  /// Reduces gradients, sums and votes; updates unless something is not finite.
  StepResult finish_step(model::Horizon horizon, double learning_rate, bool vote_stop, bool vote_save);

  /// This rank's parts of every tensor, for a checkpoint; valid until the next update.
  std::vector<io::TensorPart> checkpoint_parts();

  /// With the masters loaded, unless load_average() came last.
  model::Network& network() { return *network_; }
  const ParameterTable& table() const { return network_->table(); }

  struct Weights {
    std::span<const float> flat;  ///< layout of table()
    std::span<const float> zl_init;
  };
  /// Loads the EMA into the network (the masters where there is none) and returns what was loaded; collective.
  /// load_masters() undoes it.
  Weights load_average();
  void load_masters() { network_->load(weights_.span(), zl_init_); }

 private:
  class Sink;
  void gather(Buffer<float>& flat);
  void share_scalars(StepResult& result, bool vote_stop, bool vote_save);
  void add_square_sums();
  std::span<float> own(Buffer<float>& flat) { return flat.span(owned_.first, owned_.count()); }

  comm::Communicator& group_;
  config::RunConfig config_;
  std::unique_ptr<model::Network> network_;
  comm::FlatRange owned_;            ///< flat elements this rank updates
  comm::FlatRange written_;          ///< flat elements this rank writes and sums
  std::vector<std::int64_t> first_;  ///< flat borders of all ranks
  Buffer<float> weights_;            ///< (flat_size) float32 masters
  std::vector<float> zl_init_;       ///< (D), exactly bfloat16
  Buffer<float> average_;            ///< (flat_size) gathered EMA, made when first asked for
  Buffer<float> gradient_;           ///< own range of the reduced gradient
  optim::Optimizer optimizer_;
  comm::GradientTree tree_;
  std::vector<double> scalars_;  ///< votes, sums per pack, square sums per flat block
  std::vector<model::PackSums> pack_sums_;
  StepSeconds seconds_;
};

}  // namespace hrm::train
