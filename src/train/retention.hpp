#pragma once
// Which checkpoint a rollback takes and which ones a save makes superfluous: functions of the run's course, so that a
// run that was stopped on the way decides as one that was not, although its stop left a checkpoint that the other has
// not.
//
// Regular checkpoints are those at multiples of checkpoint.interval_steps, which both courses have. Rollbacks prefer
// them; the others (of stops, by time) take no place of theirs, and only a regular save deletes them. Without
// checkpoint.interval_steps all are alike, and what a run goes back to depends on when it was saved.
#include <cstdint>
#include <vector>

#include "config/run_config.hpp"
#include "train/guard.hpp"

namespace hrm::train {

/// The checkpoints to go back to, of those there are (`steps`, newest first), in order of preference, for some may be
/// damaged: the newest from before step `blamed`, then older ones; then the oldest from before `first_refused`, then
/// newer ones. First among the regular checkpoints, then among the others. interval_steps = 0: all are regular.
std::vector<std::int64_t> rollback_targets(const std::vector<std::int64_t>& steps, std::int64_t interval_steps,
                                           std::int64_t blamed, std::int64_t first_refused);

/// What of a save decides which older checkpoints may go.
struct Saved {
  std::int64_t step = 0;
  bool ends_plan = false;  ///< nothing goes back any more: all checkpoints are alike
  Guard guard;             ///< as stored in it
};

/// Which of `steps` (newest first) may go when `saved`, one of them, has been written. What stays: that one, the newest
/// checkpoint.keep_last (regular ones first), multiples of checkpoint.keep_every, and while steps are refused what a
/// rollback would take. Regular ones stay also where a rollback is wanted already.
std::vector<std::int64_t> superseded(const std::vector<std::int64_t>& steps, const Saved& saved,
                                     const config::CheckpointConfig& config);

}  // namespace hrm::train
