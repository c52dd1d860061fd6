#pragma once
// One function per kind of golden file (golden C). Each prints a line per quantity through the report;
// InputError(bad_data) for a file whose parts are missing or do not fit together, bad_config for a layout that cannot
// run it. Every rank calls them with the same content.
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "validate/golden_file.hpp"
#include "validate/layout.hpp"
#include "validate/report.hpp"

namespace hrm::validate {

/// Names of the groups of a file of single operations.
bool is_operation(const std::string& group);

/// C.4: every group of `file`, forward and backward, through kernels/*.hpp.
void validate_operations(const GoldenFile& file, Device& device, Report& report);
/// C.5: updates with given gradients, through optim/optimizer.hpp.
void validate_optimizer(const GoldenFile& file, Report& report);
/// C.1: batch, forward pass, gradients and three updates of a model.
void validate_model(const GoldenFile& file, const Layout& layout, Report& report);
/// C.2: greedy decoding, the same on every tensor group.
void validate_decode(const GoldenFile& file, const Layout& layout, Report& report);
/// C.3: two or more packs with a common divisor.
void validate_ranks(const GoldenFile& file, const Layout& layout, Report& report);
/// C.6 and C.7; `file` is the name for messages.
void validate_multipack(const std::string& file, const nlohmann::json& content, Report& report);
void validate_schedules(const std::string& file, const nlohmann::json& content, Report& report);

}  // namespace hrm::validate
