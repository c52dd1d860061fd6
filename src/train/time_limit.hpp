#pragma once
// The end of the job's allocation, so that a run saves and stops in time.
#include <optional>
#include <string>

namespace hrm::train {

/// When the job ends, and who said so.
struct TimeLimit {
  double end_time;     ///< seconds since 1970, UTC
  std::string source;  ///< name of the key or variable
};

/// `text`: seconds left, [D-]HH:MM:SS left, or an end time YYYY-MM-DDTHH:MM:SS in local time (squeue's %e). `now` in
/// seconds since 1970. InputError(bad_config) for anything else.
double parse_end_time(const std::string& text, double now);

/// From run.time_limit (`wanted`), else SLURM_JOB_END_TIME, else HRM_RUN_TIME_LIMIT; nothing where none is known.
/// A variable that is no time is ignored with a warning.
std::optional<TimeLimit> find_time_limit(const std::string& wanted);

}  // namespace hrm::train
