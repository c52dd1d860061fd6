#pragma once
// The network's tensors (golden A.2) as rows of one table, and their initial values.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/parameter.hpp"
#include "config/run_config.hpp"

namespace hrm::model {

/// Names of the stacks with their order in the table: {"H", "L"}, {"L"} or {""} (A.2).
std::vector<std::string> stack_names(const config::ModelConfig& config);

/// All rows: embed_tokens, lm_head, then stack by stack and layer by layer gqkv, o, gate_up, down; last zL_init where
/// the architecture has one. `config` is complete (config::complete_model).
/// `place`: the slices of one tensor-parallel rank (rows, columns or row blocks must divide: config::tensor_sizes).
ParameterTable parameter_table(const config::ModelConfig& config, TensorPlace place = {});

/// Elements [first, first + values.size()) of a row's slice of its initial value: 1.014762601732121 std fmod(g, 3), g
/// standard normal; the same for any sharding (A.2). zL_init is rounded to bfloat16.
void initial_values(const Parameter& row, std::uint64_t seed, std::int64_t first, std::span<float> values);

}  // namespace hrm::model
