#pragma once
// Steps that are not to be believed. A step is refused when its loss or gradient is not finite, or lies above
//   median + max(guard.spike_factor * 1.4826 MAD, floor)
// of the last guard.window accepted steps; MAD is the median of the absolute deviations from the median, 1.4826 MAD the
// standard deviation where values are normal. Medians, because half of the window may be outliers before the limit
// moves, where a mean and a variance follow the first spike that slips in. The floor (a tenth of the median loss and
// 0.1 nats at least, the whole median norm) keeps a window that hardly varies from refusing every flicker. Only
// upwards, and the median follows a slow drift. Fewer accepted steps than a quarter of the window (8 at least) are too
// few to judge by. Norms at another backward horizon are of another gradient: their window begins anew. Refused steps
// never enter a window.
//
// guard.max_skips refused steps in a row mean that the weights went wrong before: the run goes back to a checkpoint and
// passes over the refused steps and as many before them. Without the latter the same bits would lead to the same spike.
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "config/run_config.hpp"
#include "io/checkpoint.hpp"

namespace hrm::train {

/// What is judged of a step: sums that do not depend on the layout, so every rank of every layout decides the same.
struct StepFigures {
  std::int64_t step = 0;
  std::int64_t horizon = 0;  ///< backward steps
  double loss = 0;           ///< nats per supervised token
  double gradient_norm = 0;
};

enum class Verdict { good, spike, not_finite };

/// Steps [first, last] of the plan.
struct StepRange {
  std::int64_t first = 1;
  std::int64_t last = 0;
};

class Guard {
 public:
  explicit Guard(const config::GuardConfig& config) : config_(config) {}

  /// Without guard.enabled there are no spikes. Changes nothing.
  Verdict judge(const StepFigures& figures) const;
  /// Takes a judged step down: an accepted one ends a row of refused ones.
  void note(const StepFigures& figures, Verdict verdict);
  /// "loss 9.1 (limit 2.5), gradient norm 3.2 (limit 4.0)"; limits where there are any.
  std::string describe(const StepFigures& figures) const;

  /// guard.max_skips steps in a row were refused: the next step needs a rollback. Never without guard.enabled, whatever
  /// a checkpoint tells of earlier refusals.
  bool wants_rollback() const { return config_.enabled && std::ssize(refused_) >= config_.max_skips; }
  /// Refused steps since the last accepted one.
  const std::vector<std::int64_t>& refused() const { return refused_; }
  std::int64_t rollbacks() const { return rollbacks_; }
  /// Where steps are refused, what a rollback would pass over: the refused ones, and max_skips before them of those
  /// that are not passed over already.
  StepRange blamed() const;
  /// Goes back to what `checkpoint` stored; from now on the steps of blamed() that lie beyond it are passed over.
  void roll_back(const io::CheckpointMeta& checkpoint);
  bool passes_over(std::int64_t step) const { return passed_over_.contains(step); }

  /// /state/guard and /state/skipped_packs: pack p of step s is (s - 1) * packs + p; whole batches are passed over.
  void store(io::CheckpointMeta& meta) const;
  /// Windows longer than guard.window keep their newest values.
  void restore(const io::CheckpointMeta& meta);

 private:
  double loss_limit() const;
  double norm_limit(std::int64_t horizon) const;
  double limit(std::span<const double> window, double relative_floor, double floor) const;

  config::GuardConfig config_;
  std::vector<double> losses_;  ///< of accepted steps, oldest first
  std::vector<double> norms_;   ///< the same, at horizon_
  std::int64_t horizon_ = 0;
  std::vector<std::int64_t> refused_;
  std::set<std::int64_t> passed_over_;  ///< steps
  std::int64_t rollbacks_ = 0;
};

}  // namespace hrm::train
