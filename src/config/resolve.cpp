#include "config/resolve.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/error.hpp"
#include "config/fields.hpp"
#include "config/ini.hpp"
#include "config/nearest.hpp"
#include "config/sizes.hpp"
#include "config/value.hpp"

namespace hrm::config {
namespace {

std::string file_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  // A folder opens without complaint and fails on the first read; an empty file is at its end then.
  file.peek();
  if (!file && !file.eof()) {
    fail(ExitCode::no_input, "{}: cannot read the configuration file: {}; check --config", path, std::strerror(errno));
  }
  file.clear();
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void apply_text(Resolved& resolved, std::string_view text, const std::string& name) {
  for (const IniEntry& entry : scan_ini(text, name)) {
    const std::string where = fmt::format("{}:{}", name, entry.line);
    set_field(resolved.config, entry.key, entry.value, where);
    resolved.origins[entry.key] = where;
  }
}

/// A relative path of a file: from here if it leads somewhere, else from the configuration's folder if it does there.
std::string found_path(const std::string& given, const std::filesystem::path& configuration) {
  const std::filesystem::path beside = configuration.parent_path() / given;
  std::error_code ignored;
  const bool here = std::filesystem::exists(given, ignored);
  return !given.empty() && !here && std::filesystem::exists(beside, ignored) ? beside.string() : given;
}

void apply_file(Resolved& resolved, const std::string& file) {
  const RunConfig before = resolved.config;
  apply_text(resolved, file_text(file), file);
  RunConfig& config = resolved.config;
  if (config.data.sampling != before.data.sampling) {
    config.data.sampling = found_path(config.data.sampling, file);
  }
  if (config.eval.benchmark != before.eval.benchmark) {
    config.eval.benchmark = found_path(config.eval.benchmark, file);
  }
}

/// "train.max_steps" → "HRM_TRAIN_MAX_STEPS".
std::string variable_name(const std::string& key) {
  std::string name = "HRM_" + key;
  std::replace(name.begin(), name.end(), '.', '_');
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return static_cast<char>(std::toupper(static_cast<unsigned char>(c))); });
  return name;
}

/// Variables that belong to the program and are no keys. HRM_RUN_TIME_LIMIT is the batch script's estimate and the last
/// that the time limit is taken from, so it must not override run.time_limit.
bool is_reserved(const std::string& variable) {
  return variable == "HRM_TEST_DATA" || variable == "HRM_RUN_TIME_LIMIT";
}

void apply_environment(Resolved& resolved, const std::vector<std::pair<std::string, std::string>>& environment) {
  const std::vector<std::string> keys = known_keys();
  std::vector<std::string> variables;
  std::transform(keys.begin(), keys.end(), std::back_inserter(variables), variable_name);
  for (const auto& [variable, value] : environment) {
    if (is_reserved(variable)) {
      continue;
    }
    const auto found = std::find(variables.begin(), variables.end(), variable);
    if (found == variables.end()) {
      resolved.warnings.push_back(
          fmt::format("environment variable {} matches no key and is ignored; the nearest is {}", variable,
                      nearest(variable, variables)));
      continue;
    }
    const std::string& key = keys[static_cast<std::size_t>(found - variables.begin())];
    set_field(resolved.config, key, value, variable);
    resolved.origins[key] = variable;
  }
}

void apply_set(Resolved& resolved, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos) {
    fail(ExitCode::bad_config, "--set {}: write --set section.key=value", assignment);
  }
  const std::string key = assignment.substr(0, equals);
  set_field(resolved.config, key, std::string_view(assignment).substr(equals + 1), "--set");
  resolved.origins[key] = "--set";
}

void apply_architecture_defaults(Resolved& resolved) {
  ModelConfig& model = resolved.config.model;
  if (!resolved.origins.contains("model.half_layers")) {
    model.half_layers = may_halve(model.architecture);
  }
  if (!resolved.origins.contains("model.l_cycles") && model.architecture == "rins") {
    model.l_cycles = 7;
  }
}

/// One warning for all values that were given and do nothing.
void warn_without_effect(Resolved& resolved, const std::string& base_name) {
  constexpr const char* keys[] = {"io.hints", "io.stripe_count"};
  std::string list;
  for (const char* key : keys) {
    const auto origin = resolved.origins.find(key);
    if (origin != resolved.origins.end() && !origin->second.starts_with(base_name + ":")) {
      list += (list.empty() ? "" : ", ") + std::string(key);
    }
  }
  if (!list.empty()) {
    resolved.warnings.push_back(fmt::format("values without effect in this version: {}", list));
  }
}

void check_interval_minutes(const std::string& text) {
  double minutes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), minutes);
  const bool number =
      error == std::errc() && end == text.data() + text.size() && std::isfinite(minutes) && minutes >= 0;
  if (text != "auto" && !number) {
    fail(ExitCode::bad_config, "checkpoint.interval_minutes = {}: allowed: auto, or minutes >= 0 (0: off)", text);
  }
}

void check(const RunConfig& config) {
  check_given_sizes(config.model);
  check_interval_minutes(config.checkpoint.interval_minutes);
}

void require_text(const char* key, const std::string& value, const char* meaning) {
  if (value.empty()) {
    fail(ExitCode::bad_config, "{} is not given: {}; give --set {}=PATH", key, meaning, key);
  }
}

}  // namespace

std::vector<std::pair<std::string, std::string>> hrm_environment() {
  std::vector<std::pair<std::string, std::string>> found;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    const std::size_t equals = text.find('=');
    if (text.starts_with("HRM_") && equals != std::string::npos) {
      found.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return found;
}

Resolved resolve(const Sources& sources) {
  Resolved resolved;
  apply_text(resolved, sources.base, sources.base_name);
  for (const std::string& file : sources.files) {
    apply_file(resolved, file);
  }
  apply_environment(resolved, sources.environment);
  for (const std::string& assignment : sources.sets) {
    apply_set(resolved, assignment);
  }
  apply_architecture_defaults(resolved);
  warn_without_effect(resolved, sources.base_name);
  check(resolved.config);
  return resolved;
}

void check_training(const RunConfig& config) {
  check_model(config.model);
  const TrainConfig& train = config.train;
  if (train.learning_rate <= 0) {
    fail(ExitCode::bad_config, "train.learning_rate is not given; give --set train.learning_rate=X");
  }
  if (train.max_steps == 0 && train.epochs <= 0) {
    fail(ExitCode::bad_config, "neither train.max_steps nor train.epochs is given; give one of them");
  }
  if (train.pack_tokens < config.model.max_seq_len) {
    fail(ExitCode::bad_config,
         "train.pack_tokens = {}: a pack must hold the longest sample, model.max_seq_len = {}; change one of them",
         train.pack_tokens, config.model.max_seq_len);
  }
  require_text("data.path", config.data.path, "the folder of shards that `hrm prepare` wrote");
  require_text("checkpoint.dir", config.checkpoint.dir, "the run folder");
  if (config.metrics.path.ends_with(".jsonl")) {
    fail(ExitCode::bad_config, "metrics.path = {}: the journal has that ending; name the HDF5 file, as in metrics.h5",
         config.metrics.path);
  }
}

std::string resolved_precision(const std::string& wanted, bool native_bf16, const std::string& stored) {
  if (wanted != "auto") {
    return wanted;
  }
  if (!stored.empty()) {
    return stored;
  }
  return native_bf16 ? "bf16" : "fp32";
}

Precision precision_type(const std::string& precision) {
  ensure(precision == "fp32" || precision == "bf16", "the precision is resolved");
  return precision == "bf16" ? Precision::bf16 : Precision::fp32;
}

}  // namespace hrm::config
