#pragma once
// Model FLOPs of the batches of a run, over what its devices could do at most.
#include <optional>
#include <string>

#include "base/bf16.hpp"
#include "config/run_config.hpp"
#include "data/batch_plan.hpp"
#include "data/sample_table.hpp"
#include "plan/cost.hpp"

namespace hrm::plan {

/// Dense peak of a GPU in FLOP/s by its data sheet: bf16 on tensor cores, or fp32 without them. `name` as the driver
/// gives it; 0 for what is not listed, the host among it.
double peak_flops(const std::string& name, Precision precision);

/// All packs of a batch as one: costs are sums over slots, labels and pairs.
PackStats stats_of(const data::Batch& batch, const data::SampleTable& table, std::int64_t slots, bool prefixlm);

/// MFU of one run's steps.
class Utilization {
 public:
  /// `device`: name of every rank's; device.peak_tflops counts before it. `table` outlives this.
  Utilization(const config::RunConfig& config, Precision precision, const data::SampleTable& table,
              const std::string& device, int ranks);

  /// Model FLOPs of the step (plan::cost) over `seconds` and the peak of all ranks; nothing where that is not known.
  std::optional<double> of(const data::Batch& batch, model::Horizon horizon, double seconds) const;

 private:
  config::ModelConfig model_;
  std::int64_t slots_;
  const data::SampleTable& table_;
  double peak_;  ///< FLOP/s of all ranks, 0: not known
};

}  // namespace hrm::plan
