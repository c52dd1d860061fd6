#include "train/init_from.hpp"

#include <algorithm>
#include <sstream>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "config/resolve.hpp"
#include "model/parameters.hpp"

namespace hrm::train {
namespace {

/// What a network computes from its weights.
config::Identity function_of(const config::RunConfig& config) {
  config::Identity entries = config::identity(config, "");
  std::erase_if(entries, [](const auto& entry) {
    const std::string& name = entry.first;
    return !name.starts_with("model.") || name.find("init") != std::string::npos ||
           name.find("bp_") != std::string::npos;
  });
  return entries;
}

}  // namespace

std::optional<infer::LoadedModel> load_source(const comm::Grid& grid, const RunOptions& options,
                                              config::RunConfig& config) {
  if (options.init_from.empty()) {
    return std::nullopt;
  }
  infer::LoadedModel source =
      infer::load_model(*grid.world, options.init_from, infer::weights_kind(options.init_weights), grid.place());
  if (options.init_weights.empty() && !source.averaged) {
    log::warn("{}: holds no average of the weights; the run starts from its masters", options.init_from);
  }
  if (config.model.embed_scale == 0) {
    config.model.embed_scale = source.config.model.embed_scale;
  }
  return source;
}

void check_source(const infer::LoadedModel& source, const RunFacts& facts) {
  const ParameterTable theirs = model::parameter_table(source.config.model);
  const ParameterTable ours = model::parameter_table(facts.config.model);
  const auto same = [](const Parameter& a, const Parameter& b) { return a.name == b.name && a.shape == b.shape; };
  if (source.config.model.architecture != facts.config.model.architecture ||
      !std::equal(theirs.rows.begin(), theirs.rows.end(), ours.rows.begin(), ours.rows.end(), same)) {
    fail(
        ExitCode::bad_config,
        "--init-from {}: its network ({}, {} layers, hidden size {}, vocabulary {}) is not the configured one ({}, {}, "
        "{}, {}); give the model.* values of that checkpoint (hrm inspect shows them)",
        source.path.string(), source.config.model.architecture, source.config.model.layers,
        source.config.model.hidden_size, source.config.model.vocab_size, facts.config.model.architecture,
        facts.config.model.layers, facts.config.model.hidden_size, facts.config.model.vocab_size);
  }
  if (digest_text(source.meta.tokenizer_json) != digest_text(facts.tokenizer_json)) {
    fail(ExitCode::bad_config,
         "--init-from {}: the shards in {} were made with another tokenizer; prepare them with that checkpoint's",
         source.path.string(), facts.config.data.path);
  }
}

std::string describe_source(const infer::LoadedModel& source, const RunFacts& facts) {
  std::string text = fmt::format("starts from the {} of {}, step {}", source.averaged ? "average" : "masters",
                                 source.path.string(), source.meta.step);
  const std::string changes = config::difference(function_of(source.config), function_of(facts.config));
  std::istringstream lines(changes);
  for (std::string line; std::getline(lines, line);) {
    text += "; " + line;
  }
  if (!changes.empty()) {
    log::warn("{}: the network computes something else than the one that these weights were trained in", text);
  } else {
    log::info("{}", text);
  }
  return text;
}

}  // namespace hrm::train
