#include "model/parameters.hpp"

#include <cmath>
#include <string>

#include "base/bf16.hpp"
#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/random.hpp"
#include "base/round.hpp"

namespace hrm::model {
namespace {

using config::ModelConfig;

/// Std of every kind of tensor under one initialisation scheme (A.2).
struct InitialStd {
  double projection;  // gqkv, gate_up, embedding, head
  double attention_out;
  double down;
};

InitialStd initial_std(const ModelConfig& config) {
  if (config.init == "fixed_normal") {
    return {config.init_std, config.init_std, config.init_std};
  }
  if (config.init == "megatron") {
    const double residual = config.init_std / std::sqrt(2.0 * static_cast<double>(config.stack_layers()));
    return {config.init_std, residual, residual};
  }
  const double s = 1 / std::sqrt(static_cast<double>(config.hidden_size));
  return {s, s, 1 / std::sqrt(static_cast<double>(config.intermediate_size))};
}

void append_layer(ParameterTable& table, const ModelConfig& config, const InitialStd& std_of,
                  const std::string& prefix) {
  const std::int64_t d = config.hidden_size;
  const std::int64_t f = config.intermediate_size;
  table.rows.push_back({prefix + "gqkv", {4 * d, d}, std_of.projection, TensorSplit::row_blocks, 4});
  table.rows.push_back({prefix + "o", {d, d}, std_of.attention_out, TensorSplit::columns});
  table.rows.push_back({prefix + "gate_up", {2 * f, d}, std_of.projection, TensorSplit::row_blocks, 2});
  table.rows.push_back({prefix + "down", {d, f}, std_of.down, TensorSplit::columns});
}

void lay_out(ParameterTable& table) {
  for (Parameter& row : table.rows) {
    if (row.trainable) {
      row.offset = table.flat_size;
      table.flat_size = round_up(table.flat_size + row.count(), 64);
      table.total_count += row.count();
    }
  }
}

}  // namespace

std::vector<std::string> stack_names(const ModelConfig& config) {
  if (config.architecture == "hrm" || config.architecture == "rins") {
    return {"H", "L"};
  }
  if (config.architecture == "trm" || config.architecture == "ut") {
    return {"L"};
  }
  return {""};
}

ParameterTable parameter_table(const ModelConfig& config) {
  const InitialStd std_of = initial_std(config);
  ensure(config.intermediate_size > 0 && config.vocab_size > 0 && config.embed_scale > 0,
         "model configuration is not complete");
  const std::int64_t vocab = config.vocab_size;
  ParameterTable table;
  table.rows.push_back({"embed_tokens", {vocab, config.hidden_size}, std_of.projection, TensorSplit::rows});
  table.rows.push_back({"lm_head", {vocab, config.hidden_size}, std_of.projection, TensorSplit::rows});
  for (const std::string& stack : stack_names(config)) {
    for (std::int64_t layer = 0; layer < config.stack_layers(); ++layer) {
      append_layer(table, config, std_of, (stack.empty() ? "" : stack + ".") + "layers." + std::to_string(layer) + ".");
    }
  }
  if (config.architecture != "transformer") {
    table.rows.push_back({"zL_init", {config.hidden_size}, 1.0, TensorSplit::none, 1, false});
  }
  lay_out(table);
  return table;
}

void initial_values(const Parameter& row, std::uint64_t seed, std::int64_t first, std::span<float> values) {
  // The tensor's name picks its substream, so adding a tensor elsewhere in the table changes no other.
  const RandomStream stream(seed, RandomPurpose::initial_weights, static_cast<std::uint32_t>(digest_text(row.name)));
  const double scale = 1.014762601732121 * row.init_std;
  const auto count = static_cast<std::int64_t>(values.size());
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < count; ++i) {
    const double g = stream.normal(static_cast<std::uint64_t>(first + i));
    const auto value = static_cast<float>(scale * std::fmod(g, 3.0));
    values[static_cast<std::size_t>(i)] = row.trainable ? value : to_float(to_bf16(value));
  }
}

}  // namespace hrm::model
