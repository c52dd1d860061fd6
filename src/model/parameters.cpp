#include "model/parameters.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

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

/// Appends rows and buckets and lays them out in the flat array.
class TableBuilder {
 public:
  explicit TableBuilder(TensorPlace place) : place_(place) {}

  void row(const std::string& name, std::vector<std::int64_t> shape, double init_std, TensorSplit split,
           std::int64_t blocks = 1) {
    Parameter row{name, {std::move(shape), split, blocks, place_}, {}, init_std};
    row.shape = row.slice.shape();
    row.offset = round_up(table_.flat_size, 64);
    table_.flat_size = row.offset + row.count();
    table_.total_count += row.slice.logical_shape[0] * row.slice.logical_shape[1];
    table_.rows.push_back(std::move(row));
  }
  /// Ends the bucket of the rows since the last one.
  void end_bucket() {
    const std::int64_t first = table_.buckets.empty() ? 0 : table_.buckets.back().range.last;
    const int first_row = table_.buckets.empty() ? 0 : table_.buckets.back().last_row;
    table_.flat_size = round_up(table_.flat_size, flat_block);
    table_.buckets.push_back({first_row, static_cast<int>(table_.rows.size()), {first, table_.flat_size}});
  }
  void constant(const std::string& name, std::int64_t width) {
    const TensorSlice whole{{width}, TensorSplit::none, 1, place_};
    table_.rows.push_back({name, whole, {width}, 1.0, false});
  }
  ParameterTable take() { return std::move(table_); }

 private:
  TensorPlace place_;
  ParameterTable table_;
};

void append_layer(TableBuilder& table, const ModelConfig& config, const InitialStd& std_of, const std::string& prefix) {
  const std::int64_t d = config.hidden_size;
  const std::int64_t f = config.intermediate_size;
  table.row(prefix + "gqkv", {4 * d, d}, std_of.projection, TensorSplit::row_blocks, 4);
  table.row(prefix + "o", {d, d}, std_of.attention_out, TensorSplit::columns);
  table.row(prefix + "gate_up", {2 * f, d}, std_of.projection, TensorSplit::row_blocks, 2);
  table.row(prefix + "down", {d, f}, std_of.down, TensorSplit::columns);
  table.end_bucket();
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

ParameterTable parameter_table(const ModelConfig& config, TensorPlace place) {
  const InitialStd std_of = initial_std(config);
  ensure(config.intermediate_size > 0 && config.vocab_size > 0 && config.embed_scale > 0,
         "model configuration is not complete");
  ensure(config.num_heads % place.size == 0 && config.intermediate_size % place.size == 0 &&
             config.vocab_size % place.size == 0,
         "heads, intermediate size and vocabulary do not divide by the tensor-parallel group");
  TableBuilder table(place);
  for (const char* name : {"embed_tokens", "lm_head"}) {
    table.row(name, {config.vocab_size, config.hidden_size}, std_of.projection, TensorSplit::rows);
    table.end_bucket();
  }
  for (const std::string& stack : stack_names(config)) {
    for (std::int64_t layer = 0; layer < config.stack_layers(); ++layer) {
      append_layer(table, config, std_of, (stack.empty() ? "" : stack + ".") + "layers." + std::to_string(layer) + ".");
    }
  }
  if (config.architecture != "transformer") {
    table.constant("zL_init", config.hidden_size);
  }
  return table.take();
}

void initial_values(const Parameter& row, std::uint64_t seed, std::int64_t first, std::span<float> values) {
  // The tensor's name picks its substream, so adding a tensor elsewhere in the table changes no other.
  const RandomStream stream(seed, RandomPurpose::initial_weights, static_cast<std::uint32_t>(digest_text(row.name)));
  const double scale = 1.014762601732121 * row.init_std;
  const auto fill = [&](std::int64_t at, std::int64_t logical, std::int64_t length) {
    for (std::int64_t i = 0; i < length; ++i) {
      const double g = stream.normal(static_cast<std::uint64_t>(logical + i));
      const auto value = static_cast<float>(scale * std::fmod(g, 3.0));
      values[static_cast<std::size_t>(at - first + i)] = row.trainable ? value : to_float(to_bf16(value));
    }
  };
  constexpr std::int64_t piece = 4096;
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < std::ssize(values); i += piece) {
    row.slice.for_each_run(first + i, std::min(piece, std::ssize(values) - i), fill);
  }
}

}  // namespace hrm::model
