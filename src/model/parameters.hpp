#pragma once
// The network's tensors (golden A.2) as rows of one table, and their initial values.
#include <cstdint>
#include <span>

#include "base/parameter.hpp"
#include "config/run_config.hpp"

namespace hrm::model {

/// Rows of the vocabulary matrices: config.vocab_size rounded up to vocab_multiple (A.1).
std::int64_t padded_vocab(const config::ModelConfig& config);

/// F: config.intermediate_size, or ceil(round(expansion D 2/3) / M) M when that is 0 (A.1).
std::int64_t intermediate_size(const config::ModelConfig& config);

/// c of A.3: config.embed_scale, or 1 / std of the embedding's initialiser when that is 0.
double embed_scale(const config::ModelConfig& config);

/// Names of the stacks with their order in the table: {"H", "L"}, {"L"} or {""} (A.2).
std::vector<std::string> stack_names(const config::ModelConfig& config);

/// All rows: embed_tokens, lm_head, then stack by stack and layer by layer gqkv, o, gate_up, down; last zL_init where
/// the architecture has one. `config` is resolved (sizes positive).
ParameterTable parameter_table(const config::ModelConfig& config);

/// Elements [first, first + values.size()) of a row's initial value: 1.014762601732121 std fmod(g, 3), g standard
/// normal; the same for any sharding (A.2). zL_init is rounded to bfloat16.
void initial_values(const Parameter& row, std::uint64_t seed, std::int64_t first, std::span<float> values);

}  // namespace hrm::model
