#pragma once
// The weights of a checkpoint with what is needed to use them.
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/device.hpp"
#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "io/checkpoint.hpp"
#include "text/tokenizer.hpp"

namespace hrm::infer {

/// Weights that someone else owns: what generation and evaluation run on.
struct Model {
  const config::ModelConfig& config;  ///< complete
  Precision precision;
  std::span<const float> flat;     ///< layout of model::parameter_table(config)
  std::span<const float> zl_init;  ///< (D), empty for a transformer
  const text::Tokenizer& tokenizer;
};

/// ema_or_raw: the average where the checkpoint has one.
enum class WeightsKind { ema, raw, ema_or_raw };

/// "ema", "raw"; InputError(usage) otherwise. An empty text is ema_or_raw.
WeightsKind weights_kind(const std::string& name);

struct LoadedModel {
  std::filesystem::path path;
  config::RunConfig config;  ///< of the run, its model complete
  Precision precision;       ///< of the run
  io::CheckpointMeta meta;
  bool averaged;       ///< EMA weights
  Buffer<float> flat;  ///< layout of model::parameter_table(config.model)
  std::vector<float> zl_init;
  text::Tokenizer tokenizer;

  Model view() const { return {config.model, precision, flat.span(), zl_init, tokenizer}; }
};

/// Reads and verifies a checkpoint on every rank; collective. Warns where the average is younger than its memory
/// (fewer than 1 / (1 - train.ema) updates). InputError: 66 missing, 65 damaged, foreign, without the weights that are
/// asked for, or with tensors that do not fit its own configuration.
LoadedModel load_model(comm::Communicator& group, const std::filesystem::path& path, WeightsKind weights);

}  // namespace hrm::infer
