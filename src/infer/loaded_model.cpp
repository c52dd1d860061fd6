#include "infer/loaded_model.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/parameter.hpp"
#include "base/stop_request.hpp"
#include "config/resolve.hpp"
#include "io/checkpoint_reader.hpp"
#include "kernels/matmul.hpp"
#include "model/parameters.hpp"

namespace hrm::infer {
namespace {

void read_weights(const io::CheckpointReader& reader, LoadedModel& loaded) {
  const ParameterTable table = model::parameter_table(loaded.config.model, loaded.place);
  loaded.flat = Buffer<float>(table.flat_size, MemoryPart::weights);
  for (const Parameter& row : table.rows) {
    const std::string tensor = (loaded.averaged && row.trainable ? "/ema/" : "/model/") + row.name;
    if (row.trainable) {
      reader.read(tensor, row.slice, 0, loaded.flat.span(row.offset, row.count()));
    } else {
      loaded.zl_init.resize(static_cast<std::size_t>(row.count()));
      reader.read(tensor, row.slice, 0, loaded.zl_init);
    }
  }
}

bool wants_average(const io::CheckpointReader& reader, WeightsKind weights) {
  const bool there = reader.find("/ema/embed_tokens") != nullptr;
  if (weights == WeightsKind::ema && !there) {
    fail(ExitCode::bad_data, "{}: holds no average of the weights (train.ema was 0); use --weights raw",
         reader.path().string());
  }
  return there && weights != WeightsKind::raw;
}

void warn_if_young(const LoadedModel& loaded) {
  const double memory = 1 / (1 - loaded.config.train.ema);
  if (loaded.averaged && static_cast<double>(loaded.meta.step) < memory) {
    log::warn(
        "{}: {} updates are fewer than the {:.0f} that its average remembers (train.ema = {}), so it still leans "
        "on the initial weights; compare with --weights raw",
        loaded.path.string(), loaded.meta.step, memory, loaded.config.train.ema);
  }
}

}  // namespace

WeightsKind weights_kind(const std::string& name) {
  if (name == "ema") {
    return WeightsKind::ema;
  }
  if (name == "raw") {
    return WeightsKind::raw;
  }
  if (!name.empty()) {
    fail(ExitCode::usage, "--weights {} is unknown; give ema or raw", name);
  }
  return WeightsKind::ema_or_raw;
}

LoadedModel load_model(comm::Communicator& group, const std::filesystem::path& path, WeightsKind weights,
                       TensorPlace place) {
  const io::CheckpointReader reader(group, path, look_for_stop);
  const io::CheckpointMeta& meta = reader.meta();
  std::optional<LoadedModel> loaded;
  comm::together(group, [&] {
    config::RunConfig config = config::from_text(meta.config_text, path.string() + ":/config");
    text::Tokenizer tokenizer = text::Tokenizer::parse(meta.tokenizer_json, path.string() + ":/tokenizer");
    config.model = config::complete_model(config.model, tokenizer.vocab_size());
    config::check_tensor(config.model, place.size);
    const std::string precision =
        config::resolved_precision(config.train.precision, kernels::native_bf16(), meta.precision);
    loaded.emplace(LoadedModel{path,
                               config,
                               config::precision_type(precision),
                               meta,
                               wants_average(reader, weights),
                               place,
                               {},
                               {},
                               std::move(tokenizer)});
    read_weights(reader, *loaded);
  });
  warn_if_young(*loaded);
  return std::move(*loaded);
}

}  // namespace hrm::infer
