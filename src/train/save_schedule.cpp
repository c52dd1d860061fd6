#include "train/save_schedule.hpp"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace hrm::train {
namespace {

constexpr double prior_seconds = 8 * 3600.0;  // between failures
constexpr double background_share = 0.1;
constexpr double first_guess_of_stall = 5;  // seconds; until a save has been measured
constexpr double slow_disk = 1e8;           // bytes a second, of all ranks together

/// Minutes; 0 stands for auto.
double parse_minutes(const std::string& text) {
  if (text == "auto") {
    return 0;
  }
  double minutes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), minutes);
  if (error != std::errc() || end != text.data() + text.size() || !(minutes >= 0)) {
    fail(ExitCode::bad_config, "checkpoint.interval_minutes = {}: give a number of minutes, 0 for off, or auto", text);
  }
  return minutes > 0 ? minutes : std::numeric_limits<double>::infinity();
}

}  // namespace

SaveSchedule::SaveSchedule(const config::CheckpointConfig& config)
    : interval_steps_(config.interval_steps),
      fixed_seconds_(60 * parse_minutes(config.interval_minutes)),
      stall_(first_guess_of_stall) {}

bool SaveSchedule::due_by_steps(std::int64_t step) const {
  return interval_steps_ > 0 && step % interval_steps_ == 0;
}

bool SaveSchedule::due_by_time() const {
  return since_save_.seconds() >= interval_seconds();
}

double SaveSchedule::interval_seconds() const {
  if (fixed_seconds_ > 0) {
    return fixed_seconds_;
  }
  const double between_failures =
      (prior_seconds + record_.seconds + since_start_.seconds()) / static_cast<double>(1 + record_.failures);
  return std::sqrt(2 * (stall_ + background_share * behind_) * between_failures);
}

double SaveSchedule::reserve_seconds() const {
  return measured_ ? 2 * (stall_ + behind_) : first_guess_of_stall + static_cast<double>(bytes_) / slow_disk;
}

void SaveSchedule::saved(double stall, double behind) {
  measured_ = true;
  stall_ = stall;
  behind_ = behind;
}

}  // namespace hrm::train
