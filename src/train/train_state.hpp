#pragma once
// What a restart needs besides tensors. Left out on purpose: gradients and activations (made again), the loader's place
// in the data (a pure function of plan and step), random numbers (counter-based), timers.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/device.hpp"
#include "config/run_config.hpp"
#include "io/checkpoint.hpp"

namespace hrm::train {

struct TrainState {
  std::string run_id;
  std::int64_t step = 0;           ///< steps of the plan that are done, refused and passed over ones too
  std::int64_t planned_steps = 0;  ///< N of golden B.4, B.5
  std::int64_t epoch = 0;
  std::int64_t epoch_position = 0;  ///< samples of the epoch that came before
  std::int64_t samples_seen = 0;    ///< by updates
  std::int64_t tokens_seen = 0;     ///< by updates: slots filled, padding not counted
  std::int64_t bp_steps = 0;        ///< of the last step
  double learning_rate = 0;         ///< of the last step
  double wall_seconds = 0;          ///< in training, all starts together
};

/// Facts of this start that stand in checkpoints beside the state.
struct RunFacts {
  config::RunConfig config;  ///< complete
  std::string precision;     ///< as resolved
  std::uint64_t corpus_digest = 0;
  std::uint64_t sampling_digest = 0;
  std::string tokenizer_json;
  std::int64_t ranks = 1;
  std::int64_t threads = 1;
  DeviceType device = DeviceType::cpu;
  std::string fingerprint;
};

/// What bits depend on besides a run's identity: program build, instruction set or device (comm::device_fingerprint),
/// library versions, tensor-parallel size.
std::string fingerprint(const config::RunConfig& config, const std::string& device);

/// `cursors`: rows that each stratum had given before the state's epoch (for people; a restart derives them).
io::CheckpointMeta to_meta(const TrainState& state, const RunFacts& facts, std::span<const std::uint64_t> cursors);
TrainState from_meta(const io::CheckpointMeta& meta);

/// What differs from the stored run in layout, in what bits depend on and in what the guard decides by, and the one
/// verdict of it all: "A; B: bit-equal", "bit-equal unless steps are refused", "not bit-equal". Empty where nothing
/// does. `missing`: state that the checkpoint does not hold.
std::string changes_since(const io::CheckpointMeta& stored, const RunFacts& facts, std::int64_t planned_steps,
                          const std::string& missing);

/// Throws InputError(bad_config) with the difference unless the stored run is the same run (configuration, "Identity").
void check_identity(const io::CheckpointMeta& stored, const RunFacts& given, const std::string& file);

}  // namespace hrm::train
