#pragma once
// Checks that hold before all sizes are known; used by resolve().
#include <string>

#include "config/run_config.hpp"

namespace hrm::config {

/// half_layers makes sense: the architecture has two roles for its layers.
bool may_halve(const std::string& architecture);

/// The part of check_model() that sizes of 0 (not given) do not touch.
void check_given_sizes(const ModelConfig& model);

}  // namespace hrm::config
