#include "train/guard.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace hrm::train {
namespace {

constexpr std::int64_t least_steps = 8;
constexpr double loss_floor = 0.1;           // of the median, and nats per token
constexpr double norm_floor = 1.0;           // of the median
constexpr double normal_deviation = 1.4826;  // standard deviation over MAD of a normal distribution

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

void append(std::vector<double>& window, double value, std::int64_t most) {
  window.push_back(value);
  if (std::ssize(window) > most) {
    window.erase(window.begin());
  }
}

std::vector<double> newest(const io::CheckpointMeta& meta, const std::string& name, std::int64_t most) {
  const auto found = meta.guard.find(name);
  if (found == meta.guard.end()) {
    return {};
  }
  const std::vector<double>& all = found->second;
  return {all.end() - std::min(most, std::ssize(all)), all.end()};
}

std::int64_t stored_count(const io::CheckpointMeta& meta, const std::string& name) {
  const std::vector<double> values = newest(meta, name, 1);
  return values.empty() ? 0 : static_cast<std::int64_t>(values.front());
}

std::string figure(const char* name, double value, double limit) {
  return std::isfinite(limit) ? fmt::format("{} {:.6g} (limit {:.6g})", name, value, limit)
                              : fmt::format("{} {:.6g}", name, value);
}

}  // namespace

/// Infinite where there are too few values to judge by.
double Guard::limit(std::span<const double> window, double relative_floor, double floor) const {
  if (!config_.enabled || std::ssize(window) < std::max(least_steps, config_.window / 4)) {
    return std::numeric_limits<double>::infinity();
  }
  std::vector<double> deviations(window.begin(), window.end());
  const double middle = median(deviations);
  for (double& value : deviations) {
    value = std::abs(value - middle);
  }
  const double spread = config_.spike_factor * normal_deviation * median(std::move(deviations));
  return middle + std::max({spread, relative_floor * middle, floor});
}

double Guard::loss_limit() const {
  return limit(losses_, loss_floor, loss_floor);
}

double Guard::norm_limit(std::int64_t horizon) const {
  return limit(horizon == horizon_ ? norms_ : std::span<const double>(), norm_floor, 0);
}

Verdict Guard::judge(const StepFigures& figures) const {
  if (!std::isfinite(figures.loss) || !std::isfinite(figures.gradient_norm)) {
    return Verdict::not_finite;
  }
  const bool spike = figures.loss > loss_limit() || figures.gradient_norm > norm_limit(figures.horizon);
  return spike ? Verdict::spike : Verdict::good;
}

std::string Guard::describe(const StepFigures& figures) const {
  return figure("loss", figures.loss, loss_limit()) + ", " +
         figure("gradient norm", figures.gradient_norm, norm_limit(figures.horizon));
}

void Guard::note(const StepFigures& figures, Verdict verdict) {
  if (verdict != Verdict::good) {
    refused_.push_back(figures.step);
    return;
  }
  refused_.clear();
  append(losses_, figures.loss, config_.window);
  if (figures.horizon != horizon_) {
    norms_.clear();
    horizon_ = figures.horizon;
  }
  append(norms_, figures.gradient_norm, config_.window);
}

StepRange Guard::blamed() const {
  std::int64_t first = refused_.front();
  for (std::int64_t left = config_.max_skips; left > 0 && first > 1;) {
    --first;
    left -= passes_over(first) ? 0 : 1;
  }
  return {first, refused_.back()};
}

void Guard::roll_back(const io::CheckpointMeta& checkpoint) {
  const StepRange range = blamed();
  const std::set<std::int64_t> earlier = passed_over_;
  const std::int64_t rollbacks = rollbacks_ + 1;
  restore(checkpoint);
  refused_.clear();
  rollbacks_ = rollbacks;
  passed_over_.insert(earlier.begin(), earlier.end());
  for (std::int64_t step = std::max(range.first, checkpoint.step + 1); step <= range.last; ++step) {
    passed_over_.insert(step);
  }
}

void Guard::store(io::CheckpointMeta& meta) const {
  meta.guard["loss"] = losses_;
  meta.guard["gradient_norm"] = norms_;
  meta.guard["horizon"] = {static_cast<double>(horizon_)};
  meta.guard["refused"].assign(refused_.begin(), refused_.end());
  meta.guard["rollbacks"] = {static_cast<double>(rollbacks_)};
  meta.skipped_packs.clear();
  for (const std::int64_t step : passed_over_) {
    for (std::int64_t pack = 0; pack < meta.packs; ++pack) {
      meta.skipped_packs.push_back((step - 1) * meta.packs + pack);
    }
  }
}

void Guard::restore(const io::CheckpointMeta& meta) {
  losses_ = newest(meta, "loss", config_.window);
  norms_ = newest(meta, "gradient_norm", config_.window);
  horizon_ = stored_count(meta, "horizon");
  rollbacks_ = stored_count(meta, "rollbacks");
  const std::vector<double> refused = newest(meta, "refused", std::numeric_limits<std::int64_t>::max());
  refused_.assign(refused.begin(), refused.end());
  passed_over_.clear();
  for (const std::int64_t pack : meta.skipped_packs) {
    passed_over_.insert(pack / meta.packs + 1);
  }
}

}  // namespace hrm::train
