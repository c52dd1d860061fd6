#pragma once
// When a checkpoint is due: every interval_steps, and by time.
//
// checkpoint.interval_minutes = auto is Young's and Daly's sqrt(2 C M). C, the cost of a save: the seconds that the run
// stood still for the last one, and a tenth of what was done in the background, which takes cores and bandwidth. M, the
// mean time between failures: (8 h + seconds this run has trained) / (1 + restarts that lost steps), so that a run
// begins with 8 hours and learns from its own journal; stops that were asked for lose nothing and do not count.
#include <cstdint>

#include "base/timer.hpp"
#include "config/run_config.hpp"

namespace hrm::train {

/// What earlier starts of a run tell of failures.
struct FailureRecord {
  double seconds = 0;         ///< of training, steps that were lost included
  std::int64_t failures = 0;  ///< restarts that lost steps
};

class SaveSchedule {
 public:
  explicit SaveSchedule(const config::CheckpointConfig& config);

  void set_record(const FailureRecord& record) { record_ = record; }
  /// By steps: a pure function of the step, so every rank knows by itself.
  bool due_by_steps(std::int64_t step) const;
  /// By time since the last save began (interval_minutes = 0: never): asked on one rank, whose answer is shared.
  bool due_by_time() const;
  void started() { since_save_.restart(); }
  /// `stall`: seconds that the run stood still for it; `behind`: seconds of work in the background.
  void saved(double stall, double behind);
  /// Bytes of a save, to guess by until one has been measured.
  void expect(std::int64_t bytes) { bytes_ = bytes; }
  /// Seconds to leave for a save that nothing hides: twice what the last one took; before the first what a slow disk
  /// would take.
  double reserve_seconds() const;
  double interval_seconds() const;

 private:
  std::int64_t interval_steps_;
  double fixed_seconds_;  ///< 0: auto
  double stall_;
  double behind_ = 0;
  bool measured_ = false;
  std::int64_t bytes_ = 0;
  FailureRecord record_;
  Timer since_start_;
  Timer since_save_;
};

}  // namespace hrm::train
