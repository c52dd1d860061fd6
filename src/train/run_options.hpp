#pragma once
#include <cstdint>
#include <string>

namespace hrm::train {

/// How `hrm train` begins and ends, beside the configuration.
struct RunOptions {
  enum class Resume { none, automatic, latest, file };
  Resume resume = Resume::none;
  std::string resume_file;        ///< for Resume::file
  std::string init_from;          ///< checkpoint whose weights a new run starts from; empty: initial values
  bool init_from_average = true;  ///< its EMA, else its masters
  std::int64_t stop_after = 0;    ///< stop as if asked to after this step; 0: never
};

}  // namespace hrm::train
