// Run under mpirun with up to 4 ranks: training on any layout of the ranks is the training of one rank. Layouts are
// data x tensor for every tensor size that divides the ranks. Exit 0 if all holds; each failing promise is one line on
// standard error.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "comm/mpi_session.hpp"
#include "config/resolve.hpp"
#include "train/learner.hpp"
#include "validate/whole_tensors.hpp"

namespace {

using namespace hrm;
using Ints = std::vector<std::int32_t>;
using validate::WholeTensors;

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (!holds) {
    ++failures;
    fmt::print(stderr, "FAILED: {}\n", what);
  }
}

constexpr std::int64_t slots = 40;
constexpr double rate = 1e-3;
/// Of the updates; 2 does not reach the embedding.
constexpr std::int64_t horizons[] = {5, 2, 3};

/// Lengths of the sequences of each pack: full, nearly empty, and between.
const std::vector<Ints> packs{{17, 23}, {3}, {9, 5, 18}, {1}, {30}, {6, 6, 6, 6, 6}};

struct Pack {
  Ints inputs = Ints(slots);
  Ints positions = Ints(slots);
  Ints cu_seqlens{0};
  Ints prefixes;
  Ints rows;
  Ints labels;
  Ints sequence;

  Pack(const Ints& lengths, int salt, std::int64_t vocab) {
    const auto token = [&](int n) { return static_cast<std::int32_t>((n + 101 * salt) % vocab); };
    for (const std::int32_t length : lengths) {
      const std::int32_t first = cu_seqlens.back();
      const std::int32_t prefix = length / 3 + 1;
      for (std::int32_t t = first; t < first + length; ++t) {
        inputs[static_cast<std::size_t>(t)] = token(t * 17 + 5);
        positions[static_cast<std::size_t>(t)] = t - first;
        if (t - first >= prefix - 1) {
          rows.push_back(t);
          labels.push_back(token(t * 29 + 3));
          sequence.push_back(static_cast<std::int32_t>(prefixes.size()));
        }
      }
      prefixes.push_back(prefix);
      cu_seqlens.push_back(first + length);
    }
  }
  model::PackView view() const { return {inputs, positions, cu_seqlens, prefixes, {rows, labels, sequence}}; }
};

/// A model that 1, 2 and 4 ranks can share, of several flat blocks in every bucket.
config::RunConfig run_of(std::int64_t heads) {
  config::RunConfig run;
  run.model.layers = 2;
  run.model.num_heads = heads;
  run.model.hidden_size = 48;
  run.model.intermediate_size = 44;
  run.model.vocab_size = 268;
  run.model.vocab_multiple = 1;
  run.model.h_cycles = 2;
  run.model.l_cycles = 2;
  run.model.max_seq_len = slots;
  run.model = config::complete_model(run.model, 0);
  run.train.packs = std::ssize(packs);
  run.train.pack_tokens = slots;
  run.train.ema = 0.9;
  return run;
}

/// What three updates did.
struct Outcome {
  std::vector<train::StepResult> steps;
  WholeTensors gradients;  ///< of the first update
  WholeTensors state;
};

Outcome train_on(comm::Communicator& world, const config::RunConfig& run) {
  comm::Grid grid = comm::make_grid(world, run.parallel.tensor);
  train::Learner learner(grid, run, Precision::fp32);
  learner.initialise();
  std::vector<Pack> batch;
  double labels = 0;
  for (std::size_t i = 0; i < packs.size(); ++i) {
    batch.emplace_back(packs[i], static_cast<int>(i), run.model.vocab_size);
    labels += static_cast<double>(batch[i].rows.size());
  }
  Outcome outcome;
  for (const std::int64_t horizon : horizons) {
    learner.begin_step();
    for (std::int64_t i = learner.share().first; i < learner.share().last; ++i) {
      learner.accumulate(batch[static_cast<std::size_t>(i)].view(), {horizon},
                         labels / static_cast<double>(batch.size()));
    }
    outcome.steps.push_back(learner.finish_step({horizon}, rate));
    if (outcome.gradients.empty()) {
      outcome.gradients = validate::gather(world, learner.gradient_parts());
    }
  }
  outcome.state = validate::gather(world, learner.checkpoint_parts());
  return outcome;
}

double root_mean_square(const validate::Reals& values) {
  double sum = 0;
  for (const double value : values) {
    sum += value * value;
  }
  return std::sqrt(sum / static_cast<double>(values.size()));
}

/// Root mean square of the difference.
double difference(validate::Reals a, const validate::Reals& b) {
  std::transform(a.begin(), a.end(), b.begin(), a.begin(), std::minus());
  return root_mean_square(a);
}

/// Largest allowed differences, relative to the root mean square of a tensor, where `absolute` does not say otherwise.
struct Limits {
  double gradient;
  double moment;
  double weight;  ///< absolute; of averages too
};

/// Another order of sums of k terms: about 2^-24 sqrt(k) per product. These are independent, so d products in a row
/// from a token to its gradient make sqrt(d) of that. Adam-atan2 follows the direction of an element, so one whose
/// gradient x is below the error e may go anywhere: it is off by min(2, e / |x|) learning rates, whose root mean square
/// over normal x is sqrt(3.2 e). Later gradients see weights that differ by that in each of their products.
Limits limits_of(const config::ModelConfig& model, double smallest_weight) {
  const auto calls = static_cast<double>(model::unroll(model, {horizons[0]}).size());
  const double depth = std::sqrt(calls * static_cast<double>(model.stack_layers()) * 8);
  const double product = std::ldexp(1.0, -24) * std::sqrt(static_cast<double>(model.vocab_size));
  const double weight = static_cast<double>(std::size(horizons)) * rate * std::sqrt(3.2 * product * depth);
  return {depth * product, depth * (product + weight / smallest_weight), weight};
}

double smallest_weight(const WholeTensors& state) {
  double smallest = HUGE_VAL;
  for (const auto& [path, tensor] : state) {
    if (path.starts_with("/model/")) {
      smallest = std::min(smallest, root_mean_square(tensor.values));
    }
  }
  return smallest;
}

void expect_same_steps(const Outcome& a, const Outcome& b, double limit, const std::string& what) {
  for (std::size_t i = 0; i < a.steps.size(); ++i) {
    const train::StepResult& one = a.steps[i];
    const train::StepResult& other = b.steps[i];
    expect(std::abs(one.sums.loss_sum - other.sums.loss_sum) <= limit * one.sums.loss_sum, what + ": loss");
    expect(std::abs(one.gradient_norm - other.gradient_norm) <= limit * one.gradient_norm, what + ": gradient norm");
    expect(one.finite && other.finite && one.sums.tokens == other.sums.tokens &&
               one.sums.correct == other.sums.correct && one.sums.exact == other.sums.exact &&
               one.sums.sequences == other.sums.sequences,
           what + ": counts");
  }
}

void expect_same_bits(const Outcome& a, const Outcome& b, const std::string& what) {
  expect_same_steps(a, b, 0, what);
  for (const auto& [one, other] : {std::pair(&a.gradients, &b.gradients), std::pair(&a.state, &b.state)}) {
    expect(one->size() == other->size(), what + ": number of tensors");
    for (const auto& [path, tensor] : *one) {
      const auto found = other->find(path);
      expect(found != other->end() && found->second.values == tensor.values && found->second.step == tensor.step,
             what + ": bits of " + path);
    }
  }
}

double allowed(const Limits& limits, const std::string& path, const validate::Reals& values) {
  if (path.starts_with("/gradient/")) {
    return limits.gradient * root_mean_square(values);
  }
  if (path.starts_with("/optimizer/exp_avg/")) {
    return limits.moment * root_mean_square(values);
  }
  return path.starts_with("/optimizer/exp_avg_sq/") ? 2 * limits.moment * root_mean_square(values) : limits.weight;
}

void expect_close(const Outcome& a, const Outcome& b, const Limits& limits, const std::string& what) {
  expect_same_steps(a, b, limits.moment, what);
  for (const auto& [one, other] : {std::pair(&a.gradients, &b.gradients), std::pair(&a.state, &b.state)}) {
    for (const auto& [path, tensor] : *one) {
      const double error = difference(other->at(path).values, tensor.values);
      const double most = allowed(limits, path, tensor.values);
      expect(error <= most, fmt::format("{}: {} is off by {:.2e}, not {:.2e}", what, path, error, most));
      expect(other->at(path).step == tensor.step, what + ": updates of " + path);
    }
  }
}

std::vector<config::RunConfig> variants(const config::RunConfig& run) {
  std::vector<config::RunConfig> all;
  for (const bool deterministic : {true, false}) {
    for (const std::int64_t zero : {1, 0}) {
      for (const bool overlap : {true, false}) {
        for (const bool sequence : {true, false}) {
          config::RunConfig variant = run;
          variant.train.deterministic = deterministic;
          variant.parallel.zero = zero;
          variant.parallel.overlap = overlap;
          variant.parallel.sequence = sequence;
          if (sequence || run.parallel.tensor > 1) {
            all.push_back(variant);
          }
        }
      }
    }
  }
  return all;
}

std::string text(const comm::Communicator& world, const config::RunConfig& run) {
  return fmt::format("{} heads, {} x {}, zero {}{}{}{}", run.model.num_heads, world.size() / run.parallel.tensor,
                     run.parallel.tensor, run.parallel.zero, run.parallel.overlap ? " overlap" : "",
                     run.parallel.sequence ? " sequence" : "", run.train.deterministic ? " deterministic" : "");
}

/// Every layout with tensor groups of this size. `alone`: what one rank does.
void check_tensor(comm::Communicator& world, config::RunConfig run, int tensor, const Outcome& alone) {
  const Limits limits = limits_of(run.model, smallest_weight(alone.state));
  run.parallel.tensor = tensor;
  const Outcome one_group = train_on(*world.split(world.rank() / tensor), run);
  if (tensor == 1) {
    expect_same_bits(alone, one_group, "one rank");
  }
  for (const config::RunConfig& variant : variants(run)) {
    const Outcome outcome = train_on(world, variant);
    const std::string what = text(world, variant);
    if (variant.train.deterministic) {
      expect_same_bits(one_group, outcome, what);
    }
    expect_close(alone, outcome, limits, what);
  }
}

}  // namespace

int main() {
  comm::MpiSession session;
  comm::Communicator& world = session.world();
  for (const std::int64_t heads : {4, 8}) {
    const config::RunConfig run = run_of(heads);
    const Outcome alone = train_on(*comm::serial_communicator(), run);
    for (const int tensor : {1, 2, 4}) {
      if (world.size() % tensor == 0) {
        check_tensor(world, run, tensor, alone);
      }
    }
  }
  std::vector<std::int64_t> worst{failures};
  world.max(worst);
  return worst[0] == 0 ? 0 : 1;
}
