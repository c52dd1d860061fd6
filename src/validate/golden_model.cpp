#include "validate/golden_model.hpp"

#include <fmt/core.h>

#include <algorithm>

#include "base/bf16.hpp"
#include "base/error.hpp"
#include "config/resolve.hpp"
#include "config/value.hpp"
#include "model/unroll.hpp"
#include "validate/sequences.hpp"

namespace hrm::validate {
namespace {

/// Attribute of a golden file and the key that it sets.
struct AttributeKey {
  const char* attribute;
  const char* key;
  bool optional;
};

constexpr AttributeKey attribute_keys[] = {{"n_layers", "model.layers", false},
                                           {"half_layers", "model.half_layers", true},
                                           {"hidden_size", "model.hidden_size", false},
                                           {"num_heads", "model.num_heads", false},
                                           {"expansion", "model.expansion", false},
                                           {"intermediate_multiple", "model.intermediate_multiple", false},
                                           {"intermediate_size", "model.intermediate_size", false},
                                           {"vocab_size", "model.vocab_size", false},
                                           {"norm_eps", "model.norm_eps", false},
                                           {"rope_theta", "model.rope_theta", false},
                                           {"init_std", "model.init_std", true},
                                           {"embed_scale", "model.embed_scale", false},
                                           {"H_cycles", "model.h_cycles", true},
                                           {"L_cycles", "model.l_cycles", true},
                                           {"cycles", "model.cycles", true},
                                           {"H_bp_steps", "model.h_bp_steps", true},
                                           {"L_bp_steps", "model.l_bp_steps", true},
                                           {"bp_cycles", "model.bp_cycles", true},
                                           {"L_bp_cycles", "model.l_bp_cycles", true}};

constexpr AttributeKey text_keys[] = {{"arch", "model.architecture", false},
                                      {"attn_type", "model.attention", false},
                                      {"norm_type", "model.norm", false},
                                      {"pos_emb_type", "model.position", false},
                                      {"init_type", "model.init", false}};

/// Attributes that an architecture must have besides the common ones.
std::vector<std::string> required_attributes(const std::string& architecture) {
  if (architecture == "hrm") {
    return {"H_cycles", "L_cycles", "bp_steps", "half_layers"};
  }
  if (architecture == "trm") {
    return {"H_cycles", "L_cycles", "H_bp_steps", "L_bp_steps", "half_layers"};
  }
  if (architecture == "ut") {
    return {"cycles", "bp_cycles"};
  }
  if (architecture == "rins") {
    return {"L_cycles", "L_bp_cycles", "half_layers"};
  }
  return {};
}

/// The assignments of the file's attributes, as `--set` would give them: one place checks every range.
std::vector<std::string> assignments(const GoldenFile& file) {
  std::vector<std::string> sets{"model.vocab_multiple=1"};
  for (const AttributeKey& entry : text_keys) {
    sets.push_back(fmt::format("{}={}", entry.key, file.text_attribute(entry.attribute)));
  }
  for (const AttributeKey& entry : attribute_keys) {
    if (!entry.optional || file.has_attribute("/", entry.attribute)) {
      const double value = file.real_attribute("/", entry.attribute);
      sets.push_back(fmt::format("{}={}", entry.key, config::value_text(value)));
    }
  }
  return sets;
}

std::int64_t count_inexact(const Reals& values, bool as_bf16) {
  return std::count_if(values.begin(), values.end(), [as_bf16](double value) {
    const auto narrow = static_cast<float>(value);
    return static_cast<double>(as_bf16 ? to_float(to_bf16(narrow)) : narrow) != value;
  });
}

Ints widened(const std::vector<std::int32_t>& values) {
  return Ints(values.begin(), values.end());
}

void require_ids(const GoldenFile& file, const std::string& path, const std::vector<std::int32_t>& ids,
                 std::int64_t bound, std::int32_t nothing) {
  for (const std::int32_t id : ids) {
    if (id != nothing && (id < 0 || id >= bound)) {
      file.refuse(path, fmt::format("{} is outside 0 .. {}", id, bound - 1));
    }
  }
}

}  // namespace

config::ModelConfig read_model_config(const GoldenFile& file, Report& report) {
  config::ModelConfig model;
  try {
    config::Sources sources;
    sources.sets = assignments(file);
    model = config::complete_model(config::resolve(sources).config.model, 0);
  } catch (const InputError& error) {
    file.refuse("/", error.what());
  }
  for (const std::string& name : required_attributes(model.architecture)) {
    if (!file.has_attribute("/", name)) {
      file.refuse("/@" + name, "is missing");
    }
  }
  config::ModelConfig derived = model;
  derived.intermediate_size = 0;
  derived.embed_scale = 0;
  derived = config::complete_model(derived, 0);
  report.count("@intermediate_size", derived.intermediate_size, model.intermediate_size);
  report.real("@embed_scale", derived.embed_scale, model.embed_scale, fp32_limits.value);
  report.count("@head_dim", model.head_dim(), file.integer_attribute("/", "head_dim"));
  report.count("@stack_layers", model.stack_layers(), file.integer_attribute("/", "stack_layers"));
  return model;
}

std::int64_t read_bp_steps(const GoldenFile& file, const config::ModelConfig& model) {
  if (model.architecture != "hrm") {
    return 0;
  }
  const std::int64_t steps = file.integer_attribute("/", "bp_steps");
  if (steps < 2 || steps > 1000000) {
    file.refuse("/@bp_steps", fmt::format("{} is outside 2 .. 1000000", steps));
  }
  return steps;
}

std::int64_t roundings(const config::ModelConfig& model) {
  const auto calls = static_cast<std::int64_t>(model::unroll(model, model::Horizon{2}).size());
  return calls * (10 * model.stack_layers() + 3);
}

Limits model_limits(const config::ModelConfig& model, Precision precision) {
  return precision == Precision::fp32 ? fp32_limits : bf16_model_limits(roundings(model));
}

void check_weights(const GoldenFile& file, const ParameterTable& table, Report& report) {
  std::int64_t inexact = 0;
  for (const Parameter& row : table.rows) {
    const Reals values = file.reals("/weights/" + row.name, row.slice.logical_shape);
    inexact += count_inexact(values, false);
    if (!row.trainable) {
      report.count("weights/" + row.name + "/inexact_in_bfloat16", count_inexact(values, true), 0);
    }
  }
  report.count("weights/inexact_in_float32", inexact, 0);
}

model::PackView GoldenPack::view() const {
  return {inputs, position_ids, cu_seqlens, prefix_lens, {rows, row_labels, row_sequences}};
}

GoldenPack read_pack(const GoldenFile& file, const std::string& group, std::int64_t slots, std::int64_t vocabulary,
                     Report& report) {
  const std::string name = group.substr(1);
  GoldenPack pack;
  pack.inputs = file.ids(group + "/inputs", {slots});
  pack.labels = file.ids(group + "/labels", {slots});
  require_ids(file, group + "/inputs", pack.inputs, vocabulary, 0);
  require_ids(file, group + "/labels", pack.labels, vocabulary, no_label);
  const Sequences sequences = read_sequences(file, group, slots, report);
  pack.cu_seqlens = sequences.cu_seqlens;
  pack.prefix_lens = sequences.prefix_lens;
  pack.position_ids.assign(pack.inputs.size(), 0);
  std::int64_t labels_in_padding = 0;
  std::size_t sequence = 0;
  for (std::size_t t = 0; t < pack.inputs.size(); ++t) {
    const auto row = static_cast<std::int32_t>(t);
    if (row >= pack.total()) {
      labels_in_padding += pack.labels[t] != no_label || pack.inputs[t] != 0 ? 1 : 0;
      continue;
    }
    while (row >= pack.cu_seqlens[sequence + 1]) {
      ++sequence;
    }
    pack.position_ids[t] = row - pack.cu_seqlens[sequence];
    if (pack.labels[t] != no_label) {
      pack.rows.push_back(row);
      pack.row_labels.push_back(pack.labels[t]);
      pack.row_sequences.push_back(static_cast<std::int32_t>(sequence));
    }
  }
  report.counts(name + "/position_ids", widened(pack.position_ids), file.ints(group + "/position_ids", {slots}));
  report.count(name + "/padding_rows_in_use", labels_in_padding, 0);
  return pack;
}

void compare_with_samples(const GoldenFile& file, const std::string& group, const GoldenPack& pack, bool target_only,
                          Report& report) {
  const std::string name = group.substr(1);
  const Ints instructions = file.ints(group + "/inst_lens", {any_extent});
  const Ints responses = file.ints(group + "/resp_lens", {static_cast<std::int64_t>(instructions.size())});
  const Ints tokens = file.ints(group + "/tokens", {any_extent});
  Ints inputs;
  Ints labels;
  Ints starts{0};
  std::size_t first = 0;
  for (std::size_t s = 0; s < instructions.size(); ++s) {
    if (instructions[s] < 1 || responses[s] < 1 ||
        instructions[s] + responses[s] > static_cast<std::int64_t>(tokens.size() - first)) {
      file.refuse(group + "/tokens", "does not hold the samples that inst_lens and resp_lens describe");
    }
    const std::int64_t slots = instructions[s] + responses[s] - 1;
    for (std::int64_t t = 0; t < slots; ++t) {
      const std::size_t at = first + static_cast<std::size_t>(t);
      inputs.push_back(tokens[at]);
      labels.push_back(target_only && t < instructions[s] - 1 ? no_label : tokens[at + 1]);
    }
    first += static_cast<std::size_t>(slots) + 1;
    starts.push_back(starts.back() + slots);
  }
  report.count(name + "/tokens/unused", static_cast<std::int64_t>(tokens.size() - first), 0);
  report.counts(name + "/prefix_lens", instructions, widened(pack.prefix_lens));
  report.counts(name + "/cu_seqlens", starts, widened(pack.cu_seqlens));
  inputs.resize(std::max(inputs.size(), pack.inputs.size()), 0);
  labels.resize(std::max(labels.size(), pack.labels.size()), no_label);
  report.counts(name + "/inputs", inputs, widened(pack.inputs));
  report.counts(name + "/labels", labels, widened(pack.labels));
}

}  // namespace hrm::validate
