#pragma once
// A model and its packs as golden files give them (golden C.1): configuration from the root's attributes, packs as the
// network reads them.
#include <string>
#include <vector>

#include "config/run_config.hpp"
#include "model/network.hpp"
#include "validate/golden_file.hpp"
#include "validate/report.hpp"

namespace hrm::validate {

/// Complete configuration of the file's model; reports the derived sizes that the file also gives. InputError(bad_data)
/// for values that no model can have.
config::ModelConfig read_model_config(const GoldenFile& file, Report& report);

/// bp_steps of the file; 0 where the architecture has a fixed horizon.
std::int64_t read_bp_steps(const GoldenFile& file, const config::ModelConfig& model);

/// Roundings to the activation type on the longest path from embedding to logits: 10 for each layer of each stack call
/// (norm, gqkv, rope, attention, gate, residual; norm, gate_up, swiglu, residual) and 3 for each call (injection, final
/// norm, state).
std::int64_t roundings(const config::ModelConfig& model);

/// Limits of a model's quantities in the report's precision.
Limits model_limits(const config::ModelConfig& model, Precision precision);

/// Reports whether all weights are exact in float32, and zL_init in bfloat16, as the specification promises.
void check_weights(const GoldenFile& file, const ParameterTable& table, Report& report);

/// Label of a row that is not supervised.
inline constexpr std::int32_t no_label = -100;

/// One pack of a file.
struct GoldenPack {
  std::vector<std::int32_t> inputs;        ///< (slots)
  std::vector<std::int32_t> labels;        ///< (slots), -100: none
  std::vector<std::int32_t> position_ids;  ///< (slots)
  std::vector<std::int32_t> cu_seqlens;    ///< (S + 1)
  std::vector<std::int32_t> prefix_lens;   ///< (S)
  std::vector<std::int32_t> rows;          ///< rows with a label, their labels and sequences
  std::vector<std::int32_t> row_labels;
  std::vector<std::int32_t> row_sequences;

  std::int64_t slots() const { return static_cast<std::int64_t>(inputs.size()); }
  std::int64_t total() const { return cu_seqlens.back(); }
  double valid() const { return static_cast<double>(rows.size()); }
  model::PackView view() const;
};

/// Reads `group`, checks ids against `vocabulary` and reports whether position ids and padding are those that the
/// sequences imply (golden A.6).
GoldenPack read_pack(const GoldenFile& file, const std::string& group, std::int64_t slots, std::int64_t vocabulary,
                     Report& report);

/// Rebuilds the pack from the raw samples (golden B.1) and reports each part.
void compare_with_samples(const GoldenFile& file, const std::string& group, const GoldenPack& pack, bool target_only,
                          Report& report);

}  // namespace hrm::validate
