#include "train/train_state.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/version.hpp"
#include "config/resolve.hpp"
#include "kernels/matmul.hpp"

namespace hrm::train {
namespace {

constexpr const char* sampling_key = "digest";    // /state/sampling/digest
constexpr const char* tensor_mark = "; tensor ";  // in a fingerprint

std::uint64_t stored_sampling_digest(const io::CheckpointMeta& meta) {
  const auto found = meta.sampling.find(sampling_key);
  return found == meta.sampling.end() || found->second.empty() ? 0 : static_cast<std::uint64_t>(found->second.front());
}

config::Identity identity(config::RunConfig config, const std::string& precision, std::uint64_t corpus,
                          std::uint64_t sampling) {
  config.train.precision = precision;
  return config::identity(config, hex(corpus), hex(sampling));
}

/// Enters every update. The length of the run is compared as planned, precision as resolved, by the identity.
bool is_computed_with(std::string_view key) {
  constexpr std::string_view others[] = {"train.epochs", "train.max_steps", "train.log_interval", "train.precision",
                                         "train.recompute"};
  return key.starts_with("train.") && std::ranges::find(others, key) == std::end(others);
}

/// Matters only where the guard refuses steps: which ones, and where a rollback leads.
bool is_decided_by(std::string_view key) {
  constexpr std::string_view retention[] = {"checkpoint.interval_steps", "checkpoint.keep_last",
                                            "checkpoint.keep_every"};
  return (key.starts_with("guard.") && key != "guard.digest_interval") ||
         std::ranges::find(retention, key) != std::end(retention);
}

/// The part of a fingerprint that says nothing of tensor groups and sums, which are named by themselves.
std::string_view machine(std::string_view fingerprint) {
  return fingerprint.substr(0, fingerprint.rfind(tensor_mark));
}

}  // namespace

std::string fingerprint(const config::RunConfig& config, const std::string& device) {
  const std::string host = fmt::format("{}; {}", kernels::matmul_library(), kernels::instruction_set());
  return fmt::format("{} {}; {}{}{}{}", created_by(), build_type(), device.empty() ? host : device, tensor_mark,
                     config.parallel.tensor,
                     config.train.deterministic ? "" : "; gradients summed in the library's order");
}

io::CheckpointMeta to_meta(const TrainState& state, const RunFacts& facts, std::span<const std::uint64_t> cursors) {
  io::CheckpointMeta meta;
  meta.run_id = state.run_id;
  meta.step = state.step;
  meta.planned_steps = state.planned_steps;
  meta.epoch = state.epoch;
  meta.epoch_position = state.epoch_position;
  meta.samples_seen = state.samples_seen;
  meta.tokens_seen = state.tokens_seen;
  meta.bp_steps = state.bp_steps;
  meta.learning_rate = state.learning_rate;
  meta.wall_seconds = state.wall_seconds;
  meta.seed = facts.config.train.seed;
  meta.packs = facts.config.train.packs;
  meta.pack_tokens = facts.config.train.pack_tokens;
  meta.precision = facts.precision;
  meta.embed_scale = facts.config.model.embed_scale;
  meta.corpus_digest = facts.corpus_digest;
  meta.world_size = facts.ranks;
  meta.data_parallel = facts.ranks / facts.config.parallel.tensor;
  meta.tensor_parallel = facts.config.parallel.tensor;
  meta.threads = facts.threads;
  meta.fingerprint = facts.fingerprint;
  meta.config_text = config::to_text(facts.config);
  meta.tokenizer_json = facts.tokenizer_json;
  meta.sampling[sampling_key] = {static_cast<std::int64_t>(facts.sampling_digest)};
  meta.sampling["cursor"].assign(cursors.begin(), cursors.end());
  return meta;
}

TrainState from_meta(const io::CheckpointMeta& meta) {
  TrainState state;
  state.run_id = meta.run_id;
  state.step = meta.step;
  state.planned_steps = meta.planned_steps;
  state.epoch = meta.epoch;
  state.epoch_position = meta.epoch_position;
  state.samples_seen = meta.samples_seen;
  state.tokens_seen = meta.tokens_seen;
  state.bp_steps = meta.bp_steps;
  state.learning_rate = meta.learning_rate;
  state.wall_seconds = meta.wall_seconds;
  return state;
}

std::string changes_since(const io::CheckpointMeta& stored, const RunFacts& facts, std::int64_t planned_steps,
                          const std::string& missing) {
  std::vector<std::string> reasons;
  const std::int64_t tensor = facts.config.parallel.tensor;
  if (stored.world_size != facts.ranks || stored.tensor_parallel != tensor) {
    reasons.push_back(fmt::format("was data {} x tensor {}, is data {} x tensor {}", stored.data_parallel,
                                  stored.tensor_parallel, facts.ranks / tensor, tensor));
  }
  const config::RunConfig before = config::from_text(stored.config_text, "checkpoint:/config");
  const std::vector<std::string> decisions = config::changed_keys(before, facts.config, is_decided_by);
  reasons.insert(reasons.end(), decisions.begin(), decisions.end());
  const std::size_t harmless = reasons.size();
  const std::vector<std::string> arithmetic = config::changed_keys(before, facts.config, is_computed_with);
  reasons.insert(reasons.end(), arithmetic.begin(), arithmetic.end());
  if (machine(stored.fingerprint) != machine(facts.fingerprint)) {
    reasons.push_back(fmt::format("was {}; is {}", machine(stored.fingerprint), machine(facts.fingerprint)));
  }
  if (stored.planned_steps != planned_steps) {
    reasons.push_back(fmt::format("planned steps were {}, are {}", stored.planned_steps, planned_steps));
  }
  if (!missing.empty()) {
    reasons.push_back(fmt::format("the checkpoint holds no {}, which starts anew", missing));
  }
  if (!before.train.deterministic && !facts.config.train.deterministic) {
    reasons.emplace_back("train.deterministic is false, so no start repeats another's bits");
  }
  if (reasons.empty()) {
    return "";
  }
  const bool equal = reasons.size() == harmless && stored.fingerprint == facts.fingerprint;
  return fmt::format("{}: {}", fmt::join(reasons, "; "),
                     !equal              ? "not bit-equal"
                     : decisions.empty() ? "bit-equal"
                                         : "bit-equal unless steps are refused");
}

void check_identity(const io::CheckpointMeta& stored, const RunFacts& given, const std::string& file) {
  const config::RunConfig config = config::from_text(stored.config_text, file + ":/config");
  const std::string difference =
      config::difference(identity(config, stored.precision, stored.corpus_digest, stored_sampling_digest(stored)),
                         identity(given.config, given.precision, given.corpus_digest, given.sampling_digest));
  if (!difference.empty()) {
    fail(ExitCode::bad_config,
         "{}: this checkpoint belongs to another run:\n{}\ngive the stored values back, or start a new run in another "
         "checkpoint.dir (--init-from takes the weights along)",
         file, difference);
  }
}

}  // namespace hrm::train
