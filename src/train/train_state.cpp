#include "train/train_state.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/version.hpp"
#include "config/resolve.hpp"
#include "kernels/matmul.hpp"

namespace hrm::train {
namespace {

constexpr const char* sampling_key = "digest";  // /state/sampling/digest

std::uint64_t stored_sampling_digest(const io::CheckpointMeta& meta) {
  const auto found = meta.sampling.find(sampling_key);
  return found == meta.sampling.end() || found->second.empty() ? 0 : static_cast<std::uint64_t>(found->second.front());
}

config::Identity identity(config::RunConfig config, const std::string& precision, std::uint64_t corpus,
                          std::uint64_t sampling) {
  config.train.precision = precision;
  return config::identity(config, hex(corpus), hex(sampling));
}

}  // namespace

std::string fingerprint(const config::RunConfig& config, const std::string& device) {
  const std::string host = fmt::format("{}; {}", kernels::matmul_library(), kernels::instruction_set());
  return fmt::format("{} {}; {}; tensor {}{}", created_by(), build_type(), device.empty() ? host : device,
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

std::vector<std::string> changes_since(const io::CheckpointMeta& stored, const RunFacts& facts,
                                       std::int64_t planned_steps, const std::string& missing) {
  std::vector<std::string> changes;
  if (!facts.config.train.deterministic) {
    changes.push_back("train.deterministic = false: no start repeats another's bits");
  }
  if (stored.fingerprint != facts.fingerprint) {
    changes.push_back(fmt::format("continues, not bit-equal: was {}; is {}", stored.fingerprint, facts.fingerprint));
  }
  const std::int64_t tensor = facts.config.parallel.tensor;
  if (stored.world_size != facts.ranks || stored.tensor_parallel != tensor) {
    changes.push_back(fmt::format(
        "was data {} x tensor {}, is data {} x tensor {}: {}", stored.data_parallel, stored.tensor_parallel,
        facts.ranks / tensor, tensor,
        stored.fingerprint == facts.fingerprint && facts.config.train.deterministic ? "bit-equal" : "not bit-equal"));
  }
  if (stored.planned_steps != planned_steps) {
    changes.push_back(fmt::format("planned steps were {}, are {}: not bit-equal to the run as it was planned",
                                  stored.planned_steps, planned_steps));
  }
  if (!missing.empty()) {
    changes.push_back(fmt::format("the checkpoint holds no {}: started anew, not bit-equal", missing));
  }
  return changes;
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
