// hrm bench gemm|step
#include <fmt/core.h>
#include <omp.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "app/options.hpp"
#include "app/rank_map.hpp"
#include "app/threads.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/output.hpp"
#include "bench/gemm.hpp"
#include "bench/step.hpp"
#include "comm/use_device.hpp"
#include "kernels/gpu.hpp"
#include "kernels/matmul.hpp"

namespace hrm::app {
namespace {

using nlohmann::ordered_json;

/// Stands in where neither --vocab nor model.vocab_size is given.
constexpr std::int64_t default_vocabulary = 8192;

/// Of --prefix, as far as the sequence has room for it.
constexpr std::int64_t default_prefix = 128;

void print_once(const std::string& text) {
  if (log::rank() == 0) {
    output::print("{}\n", text);
  }
}

double positive_seconds(const po::variables_map& values) {
  const double seconds = values["seconds"].as<double>();
  if (!(seconds > 0 && seconds < 1e6)) {
    fail(ExitCode::usage, "--seconds {}: must be positive", seconds);
  }
  return seconds;
}

/// Configuration with a complete model and a decided precision; `base` as in resolve_config. `modelled` ranks compute
/// on the host.
config::RunConfig bench_config(comm::Communicator& world, const po::variables_map& values, const std::string& base,
                               bool modelled = false) {
  config::RunConfig config = resolve_config(world, values, base, "command line").config;
  if (config.model.vocab_size == 0) {
    config.model.vocab_size = default_vocabulary;
  }
  config.model = config::complete_model(config.model, 0);
  if (modelled) {
    config.device.type = "cpu";
  }
  const bool cuda = comm::choose_device(world, config.device.type) == DeviceType::cuda;
  config.train.precision = config::resolved_precision(config.train.precision, cuda || kernels::native_bf16());
  set_threads(world, config.device.threads);
  announce_ranks(world, static_cast<int>(config.parallel.tensor));
  return config;
}

struct Shape {
  std::string name;
  std::int64_t out;
  std::int64_t in;
};

/// Weights of one layer and the head (golden A.2).
std::vector<Shape> shapes_of(const config::ModelConfig& model) {
  const std::int64_t d = model.hidden_size;
  const std::int64_t f = model.intermediate_size;
  return {{"gqkv", 4 * d, d}, {"o", d, d}, {"gate_up", 2 * f, d}, {"down", d, f}, {"lm_head", model.vocab_size, d}};
}

ordered_json measured(const Shape& shape, std::int64_t rows, Precision precision, double seconds, Device& device) {
  constexpr std::pair<const char*, bench::GemmKind> kinds[] = {{"forward", bench::GemmKind::forward},
                                                               {"backward_input", bench::GemmKind::backward_input},
                                                               {"backward_weight", bench::GemmKind::backward_weight}};
  ordered_json products = ordered_json::array();
  for (const auto& [name, kind] : kinds) {
    const bench::Rate rate = bench::measure_gemm(precision, kind, rows, shape.out, shape.in, seconds, device);
    products.push_back({{"weight", shape.name},
                        {"kind", name},
                        {"rows", rows},
                        {"out", shape.out},
                        {"in", shape.in},
                        {"flops", rate.amount},
                        {"flops_per_second", rate.per_second},
                        {"best_flops_per_second", rate.best_per_second},
                        {"repetitions", rate.repetitions}});
  }
  return products;
}

std::string gemm_line(const ordered_json& p) {
  return fmt::format("{:<8} {:<16} {:>6} x {:>6} x {:>6}  {:9.2f} GFLOP/s  (best {:.2f}, {} repetitions)",
                     p["weight"].get<std::string>(), p["kind"].get<std::string>(), p["rows"].get<std::int64_t>(),
                     p["out"].get<std::int64_t>(), p["in"].get<std::int64_t>(),
                     p["flops_per_second"].get<double>() * 1e-9, p["best_flops_per_second"].get<double>() * 1e-9,
                     p["repetitions"].get<std::int64_t>());
}

/// Much more than caches hold.
constexpr std::int64_t copied_bytes = std::int64_t{64} << 20;

ordered_json copy_json(const bench::Rate& rate) {
  return {{"bytes", rate.amount},
          {"bytes_per_second", rate.per_second},
          {"best_bytes_per_second", rate.best_per_second},
          {"repetitions", rate.repetitions}};
}

/// Weights given by --out and --in; none where the model's are wanted.
std::vector<Shape> given_shapes(const po::variables_map& values) {
  if (values.count("out") == 0 && values.count("in") == 0) {
    return {};
  }
  if (values.count("out") == 0 || values.count("in") == 0) {
    fail(ExitCode::usage, "--out and --in belong together; give both");
  }
  return {{"w", at_least(values, "out", 1), at_least(values, "in", 1)}};
}

ordered_json measure_products(const comm::Grid& grid, const config::RunConfig& config, const std::vector<Shape>& shapes,
                              std::int64_t rows, double seconds) {
  Device& device = *grid.device;
  ordered_json result = {{"precision", config.train.precision},
                         {"device", device.name()},
                         {"threads", omp_get_max_threads()},
                         {"ranks", grid.world->size()},
                         {"library", device.is_host() ? kernels::matmul_library() : kernels::gpu_products()},
                         {"instruction_set", kernels::instruction_set()},
                         {"products", ordered_json::array()}};
  const Precision precision = config::precision_type(config.train.precision);
  for (const Shape& shape : shapes) {
    grid.world->barrier();  // so that all ranks of a node load it at the same time
    for (const ordered_json& product : measured(shape, rows, precision, seconds, device)) {
      result["products"].push_back(product);
    }
  }
  grid.world->barrier();
  result["copy"] = copy_json(bench::measure_copy(copied_bytes, seconds, device));
  return result;
}

std::string gemm_text(const ordered_json& result) {
  std::string text = fmt::format("{}, {}, {} threads, {} ({})\n", result["precision"].get<std::string>(),
                                 result["device"].get<std::string>(), result["threads"].get<int>(),
                                 result["library"].get<std::string>(), result["instruction_set"].get<std::string>());
  for (const ordered_json& product : result["products"]) {
    text += gemm_line(product) + "\n";
  }
  return text + fmt::format("copy     read and written {:>22.2f} GB/s     (best {:.2f}, {} repetitions)",
                            result["copy"]["bytes_per_second"].get<double>() * 1e-9,
                            result["copy"]["best_bytes_per_second"].get<double>() * 1e-9,
                            result["copy"]["repetitions"].get<std::int64_t>());
}

int bench_gemm(Arguments args, comm::Communicator& world) {
  po::options_description options;
  add_config_options(options);
  options.add_options()("rows", po::value<std::int64_t>()->default_value(2048)->value_name("N"), "rows of x [tokens]")(
      "out", po::value<std::int64_t>()->value_name("N"), "one weight [out, in] in place of the model's")(
      "in", po::value<std::int64_t>()->value_name("N"), "the same")(
      "seconds", po::value<double>()->default_value(0.5)->value_name("S"), "time for each product [s]")(
      "json", "one JSON object");
  const auto values =
      parse_options(args,
                    "hrm bench gemm (--set model.hidden_size=N … | --out N --in N) [--rows N] [--json]\n"
                    "Rates of the network's matrix products (layer weights and head), forward and both\n"
                    "gradients, in train.precision, and of a copy in memory, on device.type.",
                    options);
  if (!values) {
    return 0;
  }
  const std::int64_t rows = at_least(*values, "rows", 1);
  const double seconds = positive_seconds(*values);
  std::vector<Shape> shapes = given_shapes(*values);
  // A model must be whole, even where it is not used.
  const std::string base = shapes.empty() ? "" : "[model]\nlayers = 2\nhidden_size = 64\nnum_heads = 1\n";
  const config::RunConfig config = bench_config(world, *values, base);
  if (shapes.empty()) {
    shapes = shapes_of(config.model);
  }
  const ordered_json result = measure_products(given_grid(world, config), config, shapes, rows, seconds);
  print_once(values->count("json") != 0 ? result.dump() : gemm_text(result));
  return 0;
}

/// Bytes held and predicted, by part.
ordered_json memory_json(const bench::StepResult& r) {
  ordered_json parts;
  for (std::size_t part = 0; part < r.held.bytes.size(); ++part) {
    parts[name(static_cast<MemoryPart>(part))] = {{"held", r.held.bytes[part]}, {"predicted", r.predicted.bytes[part]}};
  }
  return parts;
}

ordered_json step_json(const bench::StepResult& r) {
  return {{"tokens_per_second", r.tokens_per_second},
          {"model_flops_per_second", r.model_flops_per_second},
          {"gemm_flops_per_second", r.gemm_flops_per_second},
          {"gemm_share", r.gemm_share},
          {"seconds_per_step", r.seconds_per_step},
          {"seconds_forward", r.seconds_forward},
          {"seconds_backward", r.seconds_backward},
          {"seconds_communication", r.seconds_communication},
          {"seconds_optimizer", r.seconds_optimizer},
          {"seconds_link", r.seconds_link},
          {"seconds_link_bound", r.seconds_link_bound},
          {"peak_memory_bytes", r.peak_memory_bytes},
          {"device_memory_bytes", r.device_memory_bytes},
          {"memory", memory_json(r)},
          {"steps", r.steps},
          {"device", r.device},
          {"precision", r.precision},
          {"threads", r.threads},
          {"ranks", r.ranks}};
}

std::string step_text(const bench::StepResult& r) {
  return fmt::format(
      "{}, {}, {} ranks of {} threads, {} steps\n"
      "tokens/s            {:.0f}\n"
      "seconds per step    {:.4f} (forward {:.4f}, backward {:.4f}, communication {:.4f}, optimizer {:.4f})\n"
      "model GFLOP/s       {:.2f}, {:.1f} % of the products alone ({:.2f} GFLOP/s per rank)\n"
      "peak memory         {:.1f} MiB per rank{}",
      r.precision, r.device, r.ranks, r.threads, r.steps, r.tokens_per_second, r.seconds_per_step, r.seconds_forward,
      r.seconds_backward, r.seconds_communication, r.seconds_optimizer, r.model_flops_per_second * 1e-9,
      100 * r.gemm_share, r.gemm_flops_per_second * 1e-9, static_cast<double>(r.peak_memory_bytes) / (1 << 20),
      r.device_memory_bytes > 0 ? fmt::format(" on the host, {:.1f} MiB in buffers of the device",
                                              static_cast<double>(r.device_memory_bytes) / (1 << 20))
                                : "");
}

int bench_step(Arguments args, comm::Communicator& world) {
  po::options_description options;
  add_config_options(options);
  options.add_options()("sequence", po::value<std::int64_t>()->default_value(256)->value_name("N"),
                        "slots of every sample [tokens]")(
      "prefix", po::value<std::int64_t>()->value_name("N"),
      "of them, instruction [tokens]; default 128, at most half of the slots")(
      "vocab", po::value<std::int64_t>()->value_name("N"), "vocabulary [tokens]; default model.vocab_size, else 8192")(
      "seconds", po::value<double>()->default_value(5)->value_name("S"), "measured for at least this long [s]")(
      "modelled-ranks", po::value<int>()->default_value(0)->value_name("N"),
      "this process works as the first of N data ranks; the others are a clock")(
      "link-latency", po::value<double>()->default_value(5e-6, "5e-6")->value_name("S"),
      "of their modelled link, per message [s]")("link-bandwidth",
                                                 po::value<double>()->default_value(25e9, "25e9")->value_name("B"),
                                                 "of their modelled link [bytes/s]")("json", "one JSON object");
  const auto values = parse_options(args,
                                    "hrm bench step --set model.layers=N --set model.hidden_size=N … [--json]\n"
                                    "Speed of a training step on synthetic packs: train.packs packs of\n"
                                    "train.pack_tokens slots, filled with equal samples; a remainder is padding.",
                                    options);
  if (!values) {
    return 0;
  }
  bench::StepOptions step;
  step.sequence = at_least(*values, "sequence", 1);
  step.prefix = values->count("prefix") != 0 ? at_least(*values, "prefix", 1)
                                             : std::clamp<std::int64_t>(step.sequence / 2, 1, default_prefix);
  step.seconds = positive_seconds(*values);
  step.modelled_ranks = (*values)["modelled-ranks"].as<int>();
  step.link = {(*values)["link-latency"].as<double>(), (*values)["link-bandwidth"].as<double>()};
  // Weaker than files, environment and --set, stronger than the default.
  std::string base = fmt::format("[model]\nmax_seq_len = {}\n", step.sequence);
  config::RunConfig config = bench_config(world, *values, base, step.modelled_ranks > 0);
  if (values->count("vocab") != 0) {
    config.model.vocab_size = 0;
    config.model = config::complete_model(config.model, at_least(*values, "vocab", 1));
  }
  const bench::StepResult result = bench::measure_step(world, config, step);
  print_once(values->count("json") != 0 ? step_json(result).dump() : step_text(result));
  return 0;
}

}  // namespace

int run_bench(Arguments args, comm::Communicator& world) {
  const std::string what = args.empty() ? "" : args[0];
  if (what == "gemm") {
    return bench_gemm(args.subspan(1), world);
  }
  if (what == "step") {
    return bench_step(args.subspan(1), world);
  }
  if (what == "--help" || what == "-h") {
    print_once(
        "usage: hrm bench gemm|step [options]\n\n"
        "  gemm  rates of the network's matrix products\n"
        "  step  speed of a training step on synthetic packs\n\n"
        "hrm bench gemm --help and hrm bench step --help list the options.");
    return 0;
  }
  fail(ExitCode::usage, "hrm bench: {}; give gemm or step",
       what.empty() ? "nothing to measure" : fmt::format("'{}' cannot be measured", what));
}

}  // namespace hrm::app
