#include "bench/step.hpp"

#include <omp.h>
#include <sys/resource.h>

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/memory_use.hpp"
#include "base/random.hpp"
#include "base/timer.hpp"
#include "bench/gemm.hpp"
#include "comm/grid.hpp"
#include "comm/use_device.hpp"
#include "config/resolve.hpp"
#include "plan/cost.hpp"
#include "train/learner.hpp"

namespace hrm::bench {
namespace {

/// A pack of equal samples of random tokens.
struct SyntheticPack {
  std::vector<std::int32_t> inputs;
  std::vector<std::int32_t> positions;
  std::vector<std::int32_t> cu_seqlens{0};
  std::vector<std::int32_t> prefixes;
  std::vector<std::int32_t> rows;
  std::vector<std::int32_t> labels;
  std::vector<std::int32_t> sequence;

  SyntheticPack(std::int64_t slots, const StepOptions& options, std::int64_t vocab)
      : inputs(static_cast<std::size_t>(slots)), positions(static_cast<std::size_t>(slots)) {
    const RandomStream random(0, RandomPurpose::demo);
    const auto token = [&](std::int64_t i) {
      return static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(vocab)));
    };
    for (std::int64_t first = 0; first + options.sequence <= slots; first += options.sequence) {
      for (std::int64_t i = 0; i < options.sequence; ++i) {
        inputs[static_cast<std::size_t>(first + i)] = token(2 * (first + i));
        positions[static_cast<std::size_t>(first + i)] = static_cast<std::int32_t>(i);
        if (i >= options.prefix - 1) {
          rows.push_back(static_cast<std::int32_t>(first + i));
          labels.push_back(token(2 * (first + i) + 1));
          sequence.push_back(static_cast<std::int32_t>(prefixes.size()));
        }
      }
      prefixes.push_back(static_cast<std::int32_t>(options.prefix));
      cu_seqlens.push_back(static_cast<std::int32_t>(first + options.sequence));
    }
  }

  model::PackView view() const { return {inputs, positions, cu_seqlens, prefixes, {rows, labels, sequence}}; }
};

plan::PackStats stats_of(const SyntheticPack& pack, const StepOptions& options, bool prefixlm) {
  return {static_cast<std::int64_t>(pack.inputs.size()), static_cast<std::int64_t>(pack.rows.size()),
          static_cast<double>(pack.prefixes.size()) *
              plan::visible_pairs(options.prefix, options.sequence - options.prefix, prefixlm)};
}

GemmKind gemm_kind(plan::ProductKind kind) {
  switch (kind) {
    case plan::ProductKind::forward:
      return GemmKind::forward;
    case plan::ProductKind::backward_input:
      return GemmKind::backward_input;
    default:
      return GemmKind::backward_weight;
  }
}

/// FLOP-weighted rate of all products: their FLOPs over the time they take alone.
double gemm_rate(const plan::Cost& cost, Precision precision, Device& device) {
  double seconds = 0;
  for (const plan::Product& product : cost.products) {
    if (product.count > 0 && product.rows > 0) {
      const Rate rate =
          measure_gemm(precision, gemm_kind(product.kind), product.rows, product.out, product.in, 0.2, device);
      seconds += product.flops() / rate.per_second;
    }
  }
  return cost.product_flops() / seconds;
}

std::int64_t peak_memory() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

train::StepResult run_step(train::Learner& learner, const SyntheticPack& pack, model::Horizon horizon) {
  learner.begin_step();
  for (std::int64_t i = 0; i < learner.share().count(); ++i) {
    learner.accumulate(pack.view(), horizon, static_cast<double>(pack.rows.size()));
  }
  return learner.finish_step(horizon, 1e-4);
}

/// Ranks of the measurement: the real ones, or this one and a clock.
struct Ranks {
  Ranks(comm::Communicator& world, const config::RunConfig& config, const StepOptions& options) {
    if (options.modelled_ranks == 0) {
      grid = comm::make_grid(world, config.parallel.tensor);
      comm::use_device(grid, comm::choose_device(world, config.device.type), config.watchdog.least_seconds);
      return;
    }
    auto data = std::make_unique<comm::ModelledCommunicator>(0, options.modelled_ranks, options.link);
    modelled = data.get();
    grid.world = &world;
    grid.data = std::move(data);
    grid.tensor = comm::serial_communicator();
  }
  double busy_seconds() const { return modelled == nullptr ? 0 : modelled->busy_seconds(); }

  comm::Grid grid;
  comm::ModelledCommunicator* modelled = nullptr;
};

/// Seconds that a bucket's elements occupy a link between `ranks` ranks, halving or doubling all the way.
double bucket_seconds(const comm::Link& link, std::int64_t elements, std::size_t element_bytes, int ranks) {
  const double share = static_cast<double>(ranks - 1) / ranks;
  return link.latency +
         share * static_cast<double>(elements) * static_cast<double>(element_bytes) / link.bytes_per_second;
}

double link_bound(const train::Learner& learner, const StepOptions& options, Precision precision,
                  const StepResult& result) {
  // The embedding: its gradient is final last, its weights are needed first.
  const std::int64_t elements = learner.table().buckets.front().range.count();
  const std::size_t weight_bytes = precision == Precision::bf16 ? 2 : 4;
  const double ends = bucket_seconds(options.link, elements, sizeof(float), options.modelled_ranks) +
                      bucket_seconds(options.link, elements, weight_bytes, options.modelled_ranks);
  return std::max(ends, result.seconds_link - result.seconds_forward - result.seconds_backward);
}

void check(const config::RunConfig& config, const StepOptions& options) {
  if (options.sequence > config.train.pack_tokens || options.prefix > options.sequence || options.prefix < 1) {
    fail(ExitCode::usage, "bench step: need 1 <= --prefix <= --sequence <= train.pack_tokens ({} <= {} <= {})",
         options.prefix, options.sequence, config.train.pack_tokens);
  }
  if (options.modelled_ranks > 0 && (config.parallel.tensor > 1 || options.modelled_ranks > config.train.packs)) {
    fail(ExitCode::usage,
         "bench step: modelled ranks are data ranks: parallel.tensor = 1, at most train.packs = {} of them",
         config.train.packs);
  }
}

/// Steps as they were measured.
struct Timings {
  std::vector<double> seconds;               ///< of the slowest rank
  std::vector<train::StepSeconds> sections;  ///< means over ranks
  double busy = 0;                           ///< of a modelled link, summed over steps

  double median_of(double train::StepSeconds::*section) const {
    std::vector<double> values;
    for (const train::StepSeconds& step : sections) {
      values.push_back(step.*section);
    }
    return median(std::move(values));
  }
};

Timings run_steps(comm::Communicator& group, const Ranks& ranks, train::Learner& learner, const SyntheticPack& pack,
                  model::Horizon horizon, double seconds) {
  Timings timings;
  const double busy_before = ranks.busy_seconds();
  for (double total = 0; total < seconds || timings.seconds.size() < 3; total += timings.seconds.back()) {
    group.barrier();
    const Timer timer;
    const train::StepResult step = run_step(learner, pack, horizon);
    std::vector<double> slowest(static_cast<std::size_t>(group.size()), 0.0);
    slowest[static_cast<std::size_t>(group.rank())] = timer.seconds();
    group.sum(std::span<double>(slowest));
    timings.seconds.push_back(*std::max_element(slowest.begin(), slowest.end()));
    timings.sections.push_back(step.seconds);
  }
  timings.busy = ranks.busy_seconds() - busy_before;
  return timings;
}

void fill_memory(StepResult& result, const Ranks& ranks, const config::RunConfig& config, Precision precision) {
  result.peak_memory_bytes = peak_memory();
  for (std::size_t part = 0; part < result.held.bytes.size(); ++part) {
    result.held.bytes[part] = static_cast<std::int64_t>(memory_bytes(static_cast<MemoryPart>(part)));
  }
  const comm::Grid& grid = ranks.grid;
  result.device = grid.device->name();
  if (!grid.device->is_host()) {
    result.device_memory_bytes = static_cast<std::int64_t>(bytes_in(grid.device->memory()));
  }
  result.predicted = plan::training_memory(
      config, precision,
      {grid.data->rank(), grid.data->size(), grid.place(), omp_get_max_threads(), grid.device->type()});
}

}  // namespace

StepResult measure_step(comm::Communicator& group, const config::RunConfig& config, const StepOptions& options) {
  check(config, options);
  config::check_ranks(config, group.size());
  const Precision precision = config::precision_type(config.train.precision);
  const SyntheticPack pack(config.train.pack_tokens, options, config.model.vocab_size);
  const model::Horizon horizon = model::horizons(config.model).back();
  Ranks ranks(group, config, options);
  train::Learner learner(ranks.grid, config, precision);
  learner.initialise();
  run_step(learner, pack, horizon);
  const Timings timings = run_steps(group, ranks, learner, pack, horizon, options.seconds);

  const plan::Cost cost =
      plan::cost(config.model, horizon, stats_of(pack, options, config.model.attention == "prefixlm"));
  const auto steps = static_cast<double>(timings.seconds.size());
  const auto packs = static_cast<double>(config.train.packs);
  StepResult result;
  result.seconds_per_step = median(timings.seconds);
  result.tokens_per_second = packs * static_cast<double>(pack.cu_seqlens.back()) / result.seconds_per_step;
  result.model_flops_per_second = packs * cost.total_flops() / result.seconds_per_step;
  result.seconds_forward = timings.median_of(&train::StepSeconds::forward);
  result.seconds_backward = timings.median_of(&train::StepSeconds::backward);
  result.seconds_communication = timings.median_of(&train::StepSeconds::communication);
  result.seconds_optimizer = timings.median_of(&train::StepSeconds::optimizer);
  fill_memory(result, ranks, config, precision);
  if (ranks.modelled != nullptr) {
    result.seconds_link = timings.busy / steps;
    result.seconds_link_bound = link_bound(learner, options, precision, result);
  }
  group.barrier();
  result.gemm_flops_per_second = gemm_rate(cost, precision, *ranks.grid.device);
  result.gemm_share = result.model_flops_per_second / (group.size() * result.gemm_flops_per_second);
  result.steps = static_cast<std::int64_t>(timings.seconds.size());
  result.precision = config.train.precision;
  result.threads = omp_get_max_threads();
  result.ranks = group.size();
  return result;
}

}  // namespace hrm::bench
