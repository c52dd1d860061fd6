// Checks and derived values of a model (golden A.1, A.2).
#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "base/error.hpp"
#include "base/round.hpp"
#include "config/resolve.hpp"
#include "config/sizes.hpp"

namespace hrm::config {
namespace {

void require_size(const char* key, std::int64_t value) {
  if (value < 1) {
    fail(ExitCode::bad_config, "{} = {}: a model needs a positive one; give it in --config FILE or with --set {}=N",
         key, value, key);
  }
}

/// What init_std = 0 stands for; lecun_normal takes no init_std.
double init_std_or_default(const ModelConfig& model) {
  if (model.init == "lecun_normal" || model.init_std > 0) {
    return model.init_std;
  }
  return model.init == "fixed_normal" ? 0.02 : 1.0 / std::sqrt(static_cast<double>(model.hidden_size));
}

std::int64_t padded_vocabulary(const ModelConfig& model, std::int64_t corpus_vocab) {
  if (model.vocab_size == 0 && corpus_vocab == 0) {
    fail(ExitCode::bad_config,
         "model.vocab_size = 0: no corpus is at hand to take it from; give --set model.vocab_size=N");
  }
  if (model.vocab_size != 0 && model.vocab_size < corpus_vocab) {
    fail(ExitCode::bad_config,
         "model.vocab_size = {}: the corpus was made with a vocabulary of {}; leave the key out or give at least {}",
         model.vocab_size, corpus_vocab, corpus_vocab);
  }
  return round_up(model.vocab_size != 0 ? model.vocab_size : corpus_vocab, model.vocab_multiple);
}

/// A size that tensor parallelism cuts.
struct CutSize {
  const char* name;
  std::int64_t value;
};

std::array<CutSize, 3> cut_sizes(const ModelConfig& model) {
  return {{{"model.num_heads", model.num_heads},
           {"model.intermediate_size", model.intermediate_size},
           {"the padded vocabulary", model.vocab_size}}};
}

}  // namespace

bool may_halve(const std::string& architecture) {
  return architecture != "transformer" && architecture != "ut";
}

void check_given_sizes(const ModelConfig& m) {
  if (m.half_layers && !may_halve(m.architecture)) {
    fail(ExitCode::bad_config, "model.half_layers = true: {} has one stack that holds all layers; set it to false",
         m.architecture);
  }
  if (m.half_layers && m.layers % 2 != 0) {
    fail(ExitCode::bad_config, "model.layers = {}: must be even where model.half_layers is true; take {}", m.layers,
         m.layers + 1);
  }
  if (m.architecture == "hrm" && m.bp_min_steps > m.bp_max_steps) {
    fail(ExitCode::bad_config, "model.bp_min_steps = {}: must not exceed model.bp_max_steps = {}", m.bp_min_steps,
         m.bp_max_steps);
  }
  if (m.hidden_size == 0 || m.num_heads == 0) {
    return;
  }
  if (m.hidden_size % m.num_heads != 0) {
    fail(ExitCode::bad_config, "model.hidden_size = {}: must be a multiple of model.num_heads = {}", m.hidden_size,
         m.num_heads);
  }
  if (m.head_dim() % 2 != 0) {
    fail(ExitCode::bad_config, "model.hidden_size = {} over model.num_heads = {}: head size {} must be even",
         m.hidden_size, m.num_heads, m.head_dim());
  }
}

void check_model(const ModelConfig& model) {
  require_size("model.layers", model.layers);
  require_size("model.hidden_size", model.hidden_size);
  require_size("model.num_heads", model.num_heads);
  check_given_sizes(model);
}

std::int64_t intermediate_size(const ModelConfig& model) {
  // nearbyint: to nearest, ties to even, as A.1 says; std::round would go away from zero.
  const double exact = model.expansion * static_cast<double>(model.hidden_size) * 2 / 3;
  return round_up(static_cast<std::int64_t>(std::nearbyint(exact)), model.intermediate_multiple);
}

double embedding_std(const ModelConfig& model) {
  if (model.init == "lecun_normal") {
    return 1.0 / std::sqrt(static_cast<double>(model.hidden_size));
  }
  return init_std_or_default(model);
}

ModelConfig complete_model(const ModelConfig& model, std::int64_t corpus_vocab) {
  check_model(model);
  ModelConfig complete = model;
  if (complete.intermediate_size == 0) {
    complete.intermediate_size = intermediate_size(model);
  }
  require_size("model.intermediate_size", complete.intermediate_size);
  complete.vocab_size = padded_vocabulary(model, corpus_vocab);
  complete.init_std = init_std_or_default(model);
  if (complete.embed_scale == 0) {
    complete.embed_scale = 1.0 / embedding_std(complete);
  }
  return complete;
}

std::vector<std::int64_t> tensor_sizes(const ModelConfig& model) {
  std::int64_t common = 0;
  for (const CutSize& size : cut_sizes(model)) {
    common = std::gcd(common, size.value);
  }
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = 1; size <= common; ++size) {
    if (common % size == 0) {
      sizes.push_back(size);
    }
  }
  return sizes;
}

void check_tensor(const ModelConfig& model, std::int64_t tensor) {
  std::string undivided;
  for (const CutSize& size : cut_sizes(model)) {
    if (size.value % tensor != 0) {
      undivided += fmt::format("{}{} = {}", undivided.empty() ? "" : ", ", size.name, size.value);
    }
  }
  if (!undivided.empty()) {
    fail(ExitCode::bad_config, "parallel.tensor = {}: does not divide {}; with this model it can be {}", tensor,
         undivided, fmt::join(tensor_sizes(model), ", "));
  }
}

void check_ranks(const RunConfig& config, int ranks) {
  const std::int64_t tensor = config.parallel.tensor;
  check_tensor(config.model, tensor);
  if (ranks > config.train.packs * tensor) {
    fail(ExitCode::bad_config,
         "{} ranks in tensor groups of {} share {} packs: a group needs one at least; use at most {} ranks, or raise "
         "train.packs",
         ranks, tensor, config.train.packs, config.train.packs * tensor);
  }
}

}  // namespace hrm::config
