#pragma once
#include <cstdint>
#include <string>

namespace hrm::train {

/// How `hrm train` begins and ends, beside the configuration.
struct RunOptions {
  enum class Resume { none, automatic, latest, file };
  Resume resume = Resume::none;
  std::string resume_file;      ///< for Resume::file
  std::string init_from;        ///< checkpoint whose weights a new run starts from; empty: initial values
  std::string init_weights;     ///< ema, raw, or empty: the EMA where there is one
  std::int64_t stop_after = 0;  ///< stop as if asked to after this step; 0: never
};

}  // namespace hrm::train
