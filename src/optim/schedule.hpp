#pragma once
// Learning rate and backward horizon as functions of the update number (golden B.4, B.5), in double.
#include <cstdint>

#include "config/run_config.hpp"

namespace hrm::optim {

/// Rate of update `step` = 1, 2, …: base step / warmup below `warmup`, then cosine from base to base * min_ratio at
/// `total`; not clamped beyond it.
double learning_rate(std::int64_t step, double base, std::int64_t warmup, std::int64_t total, double min_ratio);

/// bp_steps of update `step` = 1, 2, …: min + floor(min(1, step / (total * ratio)) (max - min)).
std::int64_t backward_steps(std::int64_t step, std::int64_t total, std::int64_t min_steps, std::int64_t max_steps,
                            double warmup_ratio);

/// Both for one update of a run of `total` planned steps.
struct StepSchedule {
  double learning_rate;
  std::int64_t backward_steps;  ///< 0 for architectures with a fixed horizon
};
StepSchedule schedule(const config::RunConfig& config, std::int64_t step, std::int64_t total);

}  // namespace hrm::optim
