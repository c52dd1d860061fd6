#pragma once
// The weights of a checkpoint with what is needed to use them.
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/device.hpp"
#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "io/checkpoint.hpp"
#include "model/decoder.hpp"
#include "text/tokenizer.hpp"

namespace hrm::infer {

/// A model whose weights someone else owns: what generation and benchmarks run on.
struct Model {
  const config::ModelConfig& config;  ///< complete
  Precision precision;
  const text::Tokenizer& tokenizer;
  /// Puts this rank's weights into a decoder; all ranks call it together, so it may communicate.
  std::function<void(model::Decoder&)> load;
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
  TensorPlace place;   ///< whose slices are here
  Buffer<float> flat;  ///< layout of model::parameter_table(config.model, place)
  std::vector<float> zl_init;
  text::Tokenizer tokenizer;

  /// Valid while this object stays where it is.
  Model view() const {
    return {config.model, precision, tokenizer,
            [this](model::Decoder& decoder) { decoder.load(flat.span(), zl_init); }};
  }
};

/// Verifies a checkpoint and reads this rank's slices; collective over `group`. Warns where the average is younger than
/// its memory (fewer than 1 / (1 - train.ema) updates). InputError: 66 missing, 65 damaged, foreign, without the
/// weights that are asked for, or with tensors that do not fit its own configuration; 78 of config::check_tensor; 75
/// when a stop is requested meanwhile.
LoadedModel load_model(comm::Communicator& group, const std::filesystem::path& path, WeightsKind weights,
                       TensorPlace place = {});

}  // namespace hrm::infer
