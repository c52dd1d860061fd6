#include "train/retention.hpp"

#include <algorithm>
#include <iterator>
#include <set>
#include <utility>

namespace hrm::train {
namespace {

bool regular(std::int64_t step, std::int64_t interval_steps) {
  return interval_steps == 0 || step % interval_steps == 0;
}

/// Regular ones first, otherwise in the same order.
std::vector<std::int64_t> by_rank(std::vector<std::int64_t> steps, std::int64_t interval_steps) {
  std::stable_partition(steps.begin(), steps.end(), [&](std::int64_t step) { return regular(step, interval_steps); });
  return steps;
}

}  // namespace

std::vector<std::int64_t> rollback_targets(const std::vector<std::int64_t>& steps, std::int64_t interval_steps,
                                           std::int64_t blamed, std::int64_t first_refused) {
  std::vector<std::int64_t> targets;
  std::copy_if(steps.begin(), steps.end(), std::back_inserter(targets), [&](auto step) { return step < blamed; });
  std::copy_if(steps.rbegin(), steps.rend(), std::back_inserter(targets),
               [&](auto step) { return step >= blamed && step < first_refused; });
  return by_rank(std::move(targets), interval_steps);
}

std::vector<std::int64_t> superseded(const std::vector<std::int64_t>& steps, const Saved& saved,
                                     const config::CheckpointConfig& config) {
  const Guard& guard = saved.guard;
  const std::int64_t interval = saved.ends_plan ? 0 : config.interval_steps;
  const std::vector<std::int64_t> ranked = by_rank(steps, interval);
  std::set<std::int64_t> kept(ranked.begin(), ranked.begin() + std::min(config.keep_last, std::ssize(ranked)));
  kept.insert(saved.step);
  // Only a stop saves where a rollback is wanted.
  const bool regular_save = regular(saved.step, interval) && !guard.wants_rollback();
  if (!guard.refused().empty()) {
    const auto targets = rollback_targets(steps, interval, guard.blamed().first, guard.refused().front());
    kept.insert(targets.begin(), targets.begin() + std::min<std::ptrdiff_t>(1, std::ssize(targets)));
  }
  std::vector<std::int64_t> old;
  std::ranges::copy_if(steps, std::back_inserter(old), [&](std::int64_t step) {
    const bool milestone = config.keep_every > 0 && step % config.keep_every == 0;
    const bool not_its_turn = regular(step, interval) && !regular_save;
    return !kept.contains(step) && !milestone && !not_its_turn;
  });
  return old;
}

}  // namespace hrm::train
