#pragma once
// From files, environment and command line to one RunConfig, and from a RunConfig to the text that files carry.
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/device.hpp"
#include "config/run_config.hpp"

namespace hrm::config {

/// Where values come from, later wins: defaults, `base` (a checkpoint's stored text, may be empty), files, environment
/// HRM_SECTION_KEY, sets.
struct Sources {
  std::string base;                                              ///< INI text as written by to_text()
  std::string base_name = "checkpoint";                          ///< its name in messages and origins
  std::vector<std::string> files;                                ///< --config FILE
  std::vector<std::pair<std::string, std::string>> environment;  ///< all variables whose names start with HRM_
  std::vector<std::string> sets;                                 ///< --set section.key=value
};

/// A configuration with the origin of every value ("default", "configs/B.cfg:12", "HRM_TRAIN_SEED", "--set").
struct Resolved {
  RunConfig config;
  std::map<std::string, std::string> origins;  ///< by key
  std::vector<std::string> warnings;           ///< one line each
};

/// Variables of this process that start with HRM_.
std::vector<std::pair<std::string, std::string>> hrm_environment();

/// Reads all sources, fills in the defaults that depend on the architecture (half_layers; l_cycles 7 for rins) and
/// checks what needs no corpus. A relative data.sampling or eval.benchmark of a file that does not lead anywhere from
/// the current folder is looked up beside that file. Values that were given and have no effect yet are one warning.
/// InputError: bad_config naming file, line, key and the nearest known key; no_input for a missing file. Sizes that are
/// not given stay 0: `check_model` refuses them where a model is needed.
Resolved resolve(const Sources& sources);

/// Sizes are given and fit together: layers, hidden_size, num_heads > 0, hidden_size divisible by num_heads, even
/// head size, even layers with half_layers (refused for transformer, ut). InputError(bad_config).
void check_model(const ModelConfig& model);

/// What `train` needs besides a model: learning_rate, epochs or max_steps, data.path, checkpoint.dir,
/// pack_tokens >= max_seq_len. InputError(bad_config).
void check_training(const RunConfig& config);

/// Golden A.1: round(expansion D 2/3) rounded to nearest even, then up to a multiple of intermediate_multiple.
std::int64_t intermediate_size(const ModelConfig& model);

/// Golden A.2: std of the embedding's initialiser: 1/sqrt(D) (lecun_normal), init_std (fixed_normal, megatron).
double embedding_std(const ModelConfig& model);

/// The model with every 0 replaced: intermediate_size, init_std, embed_scale, and vocab_size, padded to vocab_multiple.
/// `corpus_vocab` is the unpadded vocabulary of the corpus or tokenizer, 0 where there is none. Idempotent.
/// InputError(bad_config) where the vocabulary is unknown or smaller than the corpus's, or check_model fails.
ModelConfig complete_model(const ModelConfig& model, std::int64_t corpus_vocab);

/// Numbers of ranks that share a complete model by tensor parallelism: they divide heads, intermediate size and padded
/// vocabulary. Ascending, from 1.
std::vector<std::int64_t> tensor_sizes(const ModelConfig& model);
/// InputError(bad_config) where `tensor` (parallel.tensor) is none of them: names what it does not divide, and the
/// list.
void check_tensor(const ModelConfig& model, std::int64_t tensor);
/// InputError(bad_config) where `ranks` ranks cannot share a batch of a complete model: of check_tensor, and where a
/// tensor group would have no pack.
void check_ranks(const RunConfig& config, int ranks);

/// train.precision with `auto` decided: `stored` (the precision of a checkpoint, empty without one), else bf16 where
/// the hardware multiplies it natively, else fp32.
std::string resolved_precision(const std::string& wanted, bool native_bf16, const std::string& stored = "");
/// fp32 or bf16 as a type; InternalError for anything else.
Precision precision_type(const std::string& precision);

/// INI text of every key; from_text(to_text(c)) equals c bit for bit.
std::string to_text(const RunConfig& config);
/// A key that the text lacks (an older version wrote it) has its default. InputError(bad_data) naming `name` and the
/// line for a text that to_text() cannot have written.
RunConfig from_text(std::string_view text, const std::string& name);

/// Every value with its origin, one line each: --print-config.
std::string print(const Resolved& resolved);

/// What a resumed run must agree in, as (name, value). `config` is complete (complete_model, resolved_precision); the
/// digests are hex texts of corpus and sampling file.
using Identity = std::vector<std::pair<std::string, std::string>>;
Identity identity(const RunConfig& config, const std::string& corpus_digest, const std::string& sampling_digest = "");

/// "train.beta2 was 0.95, is 0.9" for every key of which `counts` holds and whose values differ.
std::vector<std::string> changed_keys(const RunConfig& stored, const RunConfig& given,
                                      const std::function<bool(std::string_view)>& counts);

/// One line per entry that differs ("train.seed: stored 0, given 1"), empty where the runs are the same.
std::string difference(const Identity& stored, const Identity& given);

}  // namespace hrm::config
