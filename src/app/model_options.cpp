#include "app/model_options.hpp"

#include "app/threads.hpp"
#include "base/error.hpp"
#include "config/resolve.hpp"
#include "text/sample.hpp"

namespace hrm::app {
namespace {

const Keys model_keys = {"parallel.*", "device.type", "device.threads", "watchdog.least_seconds"};

}  // namespace

void add_model_options(po::options_description& options) {
  auto add = options.add_options();
  add("checkpoint", po::value<std::string>()->value_name("FILE"), "the checkpoint; it holds model and tokenizer");
  add("weights", po::value<std::string>()->value_name("ema|raw"),
      "average of the weights (default where the checkpoint has one) or the weights themselves");
  add("precision", po::value<std::string>()->default_value("auto")->value_name("auto|fp32|bf16"),
      "compute type; auto: that of the run");
  add("threads", po::value<std::int64_t>()->default_value(0)->value_name("N"),
      "threads of each rank; 0: device.threads, else the cores it may use");
  add("batch", po::value<std::int64_t>()->default_value(0)->value_name("N"),
      "answers at a time on each rank; 0: up to 64, as many as fit into 1 GiB of cache");
  add("max-tokens", po::value<std::int64_t>()->default_value(512)->value_name("N"),
      "longest answer in tokens, its end included; the model's max_seq_len ends it too");
  add("condition", po::value<std::string>()->default_value("direct")->value_name("NAMES"),
      "direct, cot, noisy, synth, several joined by commas, or empty");
  add_set_option(options, model_keys);
}

std::string given_condition(const po::variables_map& values) {
  auto names = values["condition"].as<std::string>();
  if (!names.empty()) {
    text::condition_tags(names, {}, "--condition", ExitCode::usage);  // the tags themselves depend on the tokenizer
  }
  return names;
}

config::RunConfig given_config(comm::Communicator& world, const po::variables_map& values, std::int64_t tensor) {
  check_set_keys(values, model_keys);
  const std::string base = fmt::format("[parallel]\ntensor = {}\n", tensor);
  config::RunConfig config = resolve_config(world, values, base, "number of ranks").config;
  const std::int64_t threads = at_least(values, "threads", 0);
  set_threads(world, threads > 0 ? threads : config.device.threads);
  return config;
}

infer::LoadedModel load_given_model(const comm::Grid& grid, const po::variables_map& values) {
  const std::string checkpoint = required(values, "checkpoint");
  const infer::WeightsKind weights = infer::weights_kind(text_or_empty(values, "weights"));
  const auto precision = values["precision"].as<std::string>();
  if (precision != "auto" && precision != "fp32" && precision != "bf16") {
    fail(ExitCode::usage, "--precision {} is unknown; give auto, fp32 or bf16", precision);
  }
  infer::LoadedModel model = infer::load_model(*grid.world, checkpoint, weights, grid.place());
  if (precision != "auto") {
    model.precision = config::precision_type(precision);
  }
  return model;
}

}  // namespace hrm::app
