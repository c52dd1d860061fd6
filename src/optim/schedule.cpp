#include "optim/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hrm::optim {

double learning_rate(std::int64_t step, double base, std::int64_t warmup, std::int64_t total, double min_ratio) {
  const auto s = static_cast<double>(step);
  const auto w = static_cast<double>(warmup);
  if (step < warmup) {
    return base * s / w;
  }
  const double fraction = total > warmup ? (s - w) / (static_cast<double>(total) - w) : 1.0;
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * fraction));
  return base * (min_ratio + std::max(0.0, (1 - min_ratio) * cosine));
}

std::int64_t backward_steps(std::int64_t step, std::int64_t total, std::int64_t min_steps, std::int64_t max_steps,
                            double warmup_ratio) {
  const double ramp = static_cast<double>(total) * warmup_ratio;
  const double fraction = ramp > 0 ? std::min(1.0, static_cast<double>(step) / ramp) : 1.0;
  return min_steps + static_cast<std::int64_t>(std::floor(fraction * static_cast<double>(max_steps - min_steps)));
}

StepSchedule schedule(const config::RunConfig& config, std::int64_t step, std::int64_t total) {
  const config::TrainConfig& train = config.train;
  const config::ModelConfig& model = config.model;
  const bool scheduled = model.architecture == "hrm";
  return {learning_rate(step, train.learning_rate, train.lr_warmup_steps, total, train.lr_min_ratio),
          scheduled ? backward_steps(step, total, model.bp_min_steps, model.bp_max_steps, model.bp_warmup_ratio) : 0};
}

}  // namespace hrm::optim
