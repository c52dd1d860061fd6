#pragma once
// `hrm validate` on one rank.
#include <string>

#include "validate/validate.hpp"

namespace hrm::validate {

/// Whether every quantity of the file holds; throws as validate_file does.
inline bool passes(const std::string& path, Precision precision = Precision::fp32,
                   const config::RunConfig& config = {}) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  Report report(*alone, precision, 0);
  validate_file(path, {grid, config}, report);
  return report.passed();
}

}  // namespace hrm::validate
