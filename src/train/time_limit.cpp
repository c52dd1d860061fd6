#include "train/time_limit.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/stop_request.hpp"
#include "base/text.hpp"

namespace hrm::train {
namespace {

std::optional<double> whole_number(const std::string& text) {
  long long value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool all = error == std::errc() && end == text.data() + text.size() && value >= 0;
  return all ? std::optional<double>(static_cast<double>(value)) : std::nullopt;
}

/// sscanf on a text that must be used up.
template <class... Fields>
bool scan(const std::string& text, const char* format, Fields*... fields) {
  int used = 0;
  const int found = std::sscanf(text.c_str(), format, fields..., &used);
  return found == static_cast<int>(sizeof...(fields)) && used == static_cast<int>(text.size());
}

/// Local time; nothing for the 45th of a month, which mktime would take for a day of the next.
std::optional<double> calendar_time(std::tm time) {
  const std::tm given = time;
  const std::time_t seconds = std::mktime(&time);
  const bool same_day =
      time.tm_mday == given.tm_mday && time.tm_mon == given.tm_mon;  // an hour may fall to summer time
  const bool in_day = given.tm_hour >= 0 && given.tm_hour < 24 && given.tm_min >= 0 && given.tm_min < 60 &&
                      given.tm_sec >= 0 && given.tm_sec <= 60;
  return seconds != -1 && same_day && in_day ? std::optional<double>(static_cast<double>(seconds)) : std::nullopt;
}

}  // namespace

double parse_end_time(const std::string& text, double now) {
  if (const auto seconds = whole_number(text)) {
    return now + *seconds;
  }
  int days = 0;
  int hours = 0;
  int minutes = 0;
  int seconds = 0;
  // The form without days first: a failed scan leaves what it had read, and only the form with days reads them.
  const bool clock = scan(text, "%d:%d:%d%n", &hours, &minutes, &seconds) ||
                     scan(text, "%d-%d:%d:%d%n", &days, &hours, &minutes, &seconds);
  if (clock && days >= 0 && hours >= 0 && minutes >= 0 && seconds >= 0) {
    return now + 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds;
  }
  std::tm end{};
  if (scan(text, "%d-%d-%dT%d:%d:%d%n", &end.tm_year, &end.tm_mon, &end.tm_mday, &end.tm_hour, &end.tm_min,
           &end.tm_sec)) {
    end.tm_year -= 1900;
    end.tm_mon -= 1;
    end.tm_isdst = -1;
    if (const auto seconds_since_1970 = calendar_time(end)) {
      return *seconds_since_1970;
    }
  }
  fail(ExitCode::bad_config,
       "run.time_limit = {}: give seconds left, [D-]HH:MM:SS left, or an end time YYYY-MM-DDTHH:MM:SS", text);
}

std::optional<TimeLimit> find_time_limit(const std::string& wanted) {
  if (!wanted.empty()) {
    return TimeLimit{parse_end_time(wanted, wall_clock()), "run.time_limit"};
  }
  if (const std::string end_time = environment("SLURM_JOB_END_TIME"); !end_time.empty()) {
    if (const auto end = whole_number(end_time)) {
      return TimeLimit{*end, "SLURM_JOB_END_TIME"};
    }
    log::warn("SLURM_JOB_END_TIME = {} is no time in seconds since 1970; it is ignored", end_time);
  }
  const std::string text = environment("HRM_RUN_TIME_LIMIT");
  if (text.empty()) {
    return std::nullopt;
  }
  try {
    return TimeLimit{parse_end_time(text, wall_clock()), "HRM_RUN_TIME_LIMIT"};
  } catch (const InputError&) {
    // What squeue prints for a job without a limit: NONE, N/A, UNLIMITED.
    log::warn("HRM_RUN_TIME_LIMIT = {} is no time; it is ignored", text);
    return std::nullopt;
  }
}

}  // namespace hrm::train
