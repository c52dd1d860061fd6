#pragma once
// When a checkpoint is due: every interval_steps, and by time.
#include <cstdint>

#include "base/timer.hpp"
#include "config/run_config.hpp"

namespace hrm::train {

class SaveSchedule {
 public:
  explicit SaveSchedule(const config::CheckpointConfig& config);

  /// By steps: a pure function of the step, so every rank knows by itself.
  bool due_by_steps(std::int64_t step) const;
  /// By time: asked on one rank, whose answer is shared. The interval is interval_minutes (0: never); with `auto` it is
  /// Young's sqrt(2 C M) from the measured cost C of the last save and a mean time between failures M of one day.
  bool due_by_time() const;
  void saved(double seconds);
  /// Seconds of the last save; a guess before the first.
  double cost_seconds() const { return cost_seconds_; }

 private:
  double interval_seconds() const;
  std::int64_t interval_steps_;
  double fixed_seconds_;  ///< 0: auto
  double cost_seconds_;
  Timer since_save_;
};

}  // namespace hrm::train
