#include "train/recovery.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"

namespace hrm::train {

StepResult Recovery::finish_step(Learner& learner, std::int64_t step, const optim::StepSchedule& schedule,
                                 const Votes& votes, const std::function<void()>& before_update) {
  const auto figures = [&](const StepResult& result) {
    return StepFigures{step, schedule.backward_steps, result.sums.loss_sum / static_cast<double>(result.sums.tokens),
                       result.gradient_norm};
  };
  Verdict verdict = Verdict::not_finite;
  const auto accept = [&](const StepResult& result) {
    verdict = guard_.judge(figures(result));
    if (verdict == Verdict::good) {
      before_update();
    }
    return verdict == Verdict::good;
  };
  StepResult result = learner.finish_step({schedule.backward_steps}, schedule.learning_rate, votes, accept);
  if (verdict != Verdict::good) {
    report(figures(result), verdict);
  }
  guard_.note(figures(result), verdict);
  return result;
}

void Recovery::report(const StepFigures& figures, Verdict verdict) {
  const bool spike = verdict == Verdict::spike;
  const std::string text =
      fmt::format("{}: {}; the weights were not updated", spike ? "a spike" : "not finite", guard_.describe(figures));
  if (!config_.enabled) {
    fail(ExitCode::numerics,
         "step {}: {}. Lower train.learning_rate, or go on from the last checkpoint with train.precision = fp32",
         figures.step, text);
  }
  folder_.event(figures.step, spike ? "spike" : "skip", text);
  if (!std::exchange(warned_, true)) {
    progress_.finish();
    log::warn("step {}: {} (later ones are events of the metrics)", figures.step, text);
  }
}

Rollback Recovery::go_back() {
  const StepRange blamed = guard_.blamed();
  const std::string refused =
      fmt::format("{} steps in a row were refused, the last was {}", guard_.refused().size(), guard_.refused().back());
  if (guard_.rollbacks() >= config_.max_rollbacks) {
    fail(ExitCode::numerics,
         "{}, after {} rollbacks (guard.max_rollbacks); go on from the last checkpoint with a lower "
         "train.learning_rate or train.precision = fp32, or look at the data of those steps",
         refused, guard_.rollbacks());
  }
  std::optional<io::CheckpointReader> checkpoint = folder_.rollback_point(blamed.first, guard_.refused().front());
  if (!checkpoint) {
    fail(ExitCode::numerics,
         "{}, and there is no good checkpoint from before them to go back to; lower train.learning_rate, and set "
         "checkpoint.interval_steps or checkpoint.interval_minutes",
         refused);
  }
  const std::int64_t step = checkpoint->meta().step;
  guard_.roll_back(checkpoint->meta());
  std::string passed_over =
      fmt::format("steps {} to {} are passed over", std::max(blamed.first, step + 1), blamed.last);
  progress_.finish();
  log::warn("{}: back to step {}; {}", refused, step, passed_over);
  return {std::move(*checkpoint), std::move(passed_over)};
}

}  // namespace hrm::train
