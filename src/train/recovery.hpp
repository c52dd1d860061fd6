#pragma once
// The guard at work in a run: it is asked about every step, and its answers become events, warnings and exit code 76.
#include <cstdint>
#include <functional>
#include <string>

#include "optim/schedule.hpp"
#include "train/guard.hpp"
#include "train/learner.hpp"
#include "train/progress.hpp"
#include "train/run_folder.hpp"

namespace hrm::train {

/// Where a run goes back to, and which steps it passes over then, in words.
struct Rollback {
  io::CheckpointReader checkpoint;
  std::string passed_over;
};

class Recovery {
 public:
  /// `folder` and `progress` outlive this.
  Recovery(const config::GuardConfig& config, RunFolder& folder, Progress& progress)
      : config_(config), guard_(config), folder_(folder), progress_(progress) {}

  Guard& guard() { return guard_; }
  const Guard& guard() const { return guard_; }

  /// Learner::finish_step with the guard's consent; `before_update` is called just before weights change. A refused
  /// step is an event "spike", or "skip" where it is not finite; the first is a warning too. Without guard.enabled what
  /// is not finite ends the run (76). Collective.
  StepResult finish_step(Learner& learner, std::int64_t step, const optim::StepSchedule& schedule, const Votes& votes,
                         const std::function<void()>& before_update);

  /// For guard().wants_rollback(): the checkpoint to restore, to whose state the guard has gone back. 76 after
  /// guard.max_rollbacks, or where there is no good checkpoint from before the refused steps. Collective.
  Rollback go_back();

 private:
  void report(const StepFigures& figures, Verdict verdict);

  config::GuardConfig config_;
  Guard guard_;
  RunFolder& folder_;
  Progress& progress_;
  bool warned_ = false;
};

}  // namespace hrm::train
