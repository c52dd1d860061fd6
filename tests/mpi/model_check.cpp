// Run under mpirun with any number of ranks up to 4: a network and a decoder cut over all ranks compute what one rank
// computes alone. Exit 0 if all holds; each failing promise is one line on standard error.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "comm/mpi_session.hpp"
#include "config/resolve.hpp"
#include "kernels/matmul.hpp"
#include "model/decoder.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"

namespace {

using namespace hrm;
using namespace hrm::model;
using Ints = std::vector<std::int32_t>;

int failures = 0;

void expect(bool holds, const std::string& what) {
  if (!holds) {
    ++failures;
    fmt::print(stderr, "FAILED: {}\n", what);
  }
}

struct Case {
  std::string architecture;
  std::string norm = "pre";
  std::string position = "rope";
  std::string attention = "prefixlm";

  std::string text() const { return fmt::format("{} {} {} {}", architecture, norm, position, attention); }
};

/// Sizes that divide by `ranks`, and no more than that.
config::ModelConfig model_of(const Case& c, int ranks) {
  config::ModelConfig model;
  model.architecture = c.architecture;
  model.half_layers = c.architecture != "transformer" && c.architecture != "ut";
  model.layers = model.half_layers ? 4 : 2;
  model.num_heads = 2 * ranks;
  model.hidden_size = model.num_heads * 6;
  model.intermediate_size = 11 * ranks;
  model.vocab_size = 13 * ranks;
  model.vocab_multiple = 1;
  model.h_cycles = 2;
  model.l_cycles = 2;
  model.cycles = 3;
  model.bp_min_steps = model.bp_max_steps = 5;
  model.bp_cycles = 2;
  model.l_bp_cycles = 2;
  model.norm = c.norm;
  model.position = c.position;
  model.attention = c.attention;
  model.max_seq_len = 40;
  return config::complete_model(model, 0);
}

/// 35 slots leave a remainder for 2, 3 and 4 ranks. Three sequences and padding.
constexpr std::int64_t slots = 35;

struct Pack {
  Ints inputs = Ints(slots);
  Ints positions = Ints(slots);
  Ints cu_seqlens{0, 9, 14, 32};
  Ints prefixes{1, 5, 8};
  Ints rows;
  Ints labels;
  Ints sequence;

  explicit Pack(std::int64_t vocab) {
    const auto token = [&](int n) { return static_cast<std::int32_t>(n % vocab); };
    for (std::int32_t s = 0; s < 3; ++s) {
      const auto i = static_cast<std::size_t>(s);
      for (std::int32_t t = cu_seqlens[i]; t < cu_seqlens[i + 1]; ++t) {
        inputs[static_cast<std::size_t>(t)] = token(t * 17 + 5);
        positions[static_cast<std::size_t>(t)] = t - cu_seqlens[i];
        if (t - cu_seqlens[i] >= prefixes[i] - 1) {
          rows.push_back(t);
          labels.push_back(token(t * 29 + 3));
          sequence.push_back(s);
        }
      }
    }
  }
  PackView view() const { return {inputs, positions, cu_seqlens, prefixes, {rows, labels, sequence}}; }
};

/// Initial values of a table's slices.
struct Weights {
  std::vector<float> flat;
  std::vector<float> zl_init;

  explicit Weights(const ParameterTable& table) : flat(static_cast<std::size_t>(table.flat_size)) {
    for (const Parameter& row : table.rows) {
      std::vector<float> values(static_cast<std::size_t>(row.count()));
      initial_values(row, 5, 0, values);
      if (row.trainable) {
        std::copy(values.begin(), values.end(), flat.begin() + row.offset);
      } else {
        zl_init = values;
      }
    }
  }
};

class VectorSink : public GradientSink {
 public:
  explicit VectorSink(std::int64_t size) : values(static_cast<std::size_t>(size)) {}
  std::span<float> flat() override { return values; }
  void done(int row) override { finished.push_back(row); }
  std::vector<float> values;
  Ints finished;
};

/// What a network says about the pack.
struct Outcome {
  PackSums trained;
  PackSums evaluated;
  std::vector<double> losses;
  std::vector<std::vector<double>> gradients;  ///< of every trainable row, as a whole tensor
  Ints finished;
};

struct Options {
  Precision precision = Precision::fp32;
  bool sequence = true;
  bool recompute = false;
};

Outcome run(const config::ModelConfig& model, const Options& options, comm::Communicator* group) {
  const Pack pack(model.vocab_size);
  const auto network =
      Network::make(model, options.precision, slots, Purpose::training, options.recompute, {group, options.sequence});
  const ParameterTable& table = network->table();
  const Weights weights(table);
  network->load(weights.flat, weights.zl_init);
  VectorSink sink(table.flat_size);
  const std::int64_t primitives = kernels::primitives_created();
  const std::size_t memory = memory_bytes_total();

  Outcome outcome;
  outcome.trained = network->forward_backward(pack.view(), horizons(model).back(), 7.0, sink);
  outcome.evaluated = network->evaluate(pack.view());
  outcome.losses.assign(network->row_losses().begin(), network->row_losses().end());

  expect(kernels::primitives_created() == primitives, "a step makes no matrix product");
  expect(memory_bytes_total() == memory, "a step takes no memory");
  outcome.finished = sink.finished;
  for (const Parameter& row : table.rows) {
    if (!row.trainable) {
      continue;
    }
    const auto& shape = row.slice.logical_shape;
    std::vector<double> whole(static_cast<std::size_t>(shape[0] * shape[1]));
    row.slice.for_each_run(0, row.count(), [&](std::int64_t at, std::int64_t logical, std::int64_t length) {
      std::copy_n(sink.values.begin() + row.offset + at, length, whole.begin() + logical);
    });
    if (group != nullptr) {
      group->sum(std::span<double>(whole));  // the slices of different ranks do not overlap
    }
    outcome.gradients.push_back(std::move(whole));
  }
  return outcome;
}

/// ‖a - b‖ / ‖b‖; NaN stays NaN.
template <class Values>
double distance(const Values& a, const Values& b) {
  double difference = a.size() == b.size() ? 0 : std::nan("");
  double size = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    difference += d * d;
    size += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference / size);
}

/// Products in a row from a token to its gradient: every call of a layer has 4, and their gradients 4 more.
double depth(const config::ModelConfig& model) {
  const auto calls = static_cast<double>(unroll(model, horizons(model).back()).size());
  return calls * static_cast<double>(model.stack_layers()) * 8;
}

/// Largest allowed distances.
struct Limits {
  double forward;   ///< losses, states, logits
  double gradient;  ///< each tensor
};

/// fp32: the cut changes the order of sums of up to k terms: relative 2^-24 sqrt(k) per product, added up over the
/// depth in the worst case.
Limits fp32_limits(const config::ModelConfig& model) {
  const auto terms = static_cast<double>(std::max({model.hidden_size, model.intermediate_size, model.vocab_size}));
  const double all = std::ldexp(1.0, -24) * std::sqrt(terms) * depth(model);
  return {all, all};
}

/// bf16 is noise of its own size around fp32: the cut may be twice as far from fp32 as one rank is.
Limits bf16_limits(const Outcome& exact, const Outcome& rounded) {
  Limits limits{2 * distance(rounded.losses, exact.losses), 0};
  for (std::size_t row = 0; row < exact.gradients.size(); ++row) {
    limits.gradient = std::max(limits.gradient, 2 * distance(rounded.gradients[row], exact.gradients[row]));
  }
  return limits;
}

/// All ranks hold the same bytes.
void expect_equal_on_all_ranks(comm::Communicator& group, const Outcome& outcome, const std::string& what) {
  std::string bytes(reinterpret_cast<const char*>(outcome.losses.data()), outcome.losses.size() * sizeof(double));
  for (const PackSums& sums : {outcome.trained, outcome.evaluated}) {
    bytes += fmt::format("{} {} {} {};", sums.loss_sum, sums.correct, sums.exact, sums.tokens);
  }
  for (const std::string& theirs : group.gather(bytes)) {
    expect(theirs == bytes, what + ": sums differ between ranks");
  }
}

void compare(const Outcome& one, const Outcome& cut, const Limits& limits, bool counts, const std::string& what) {
  for (const auto& [a, b] : {std::pair{one.trained, cut.trained}, std::pair{one.evaluated, cut.evaluated}}) {
    expect(std::abs(b.loss_sum / a.loss_sum - 1) < limits.forward, what + ": loss");
    expect(a.tokens == b.tokens && a.sequences == b.sequences, what + ": numbers of tokens and sequences");
    expect(!counts || (a.correct == b.correct && a.exact == b.exact), what + ": predictions");
  }
  expect(distance(cut.losses, one.losses) < limits.forward, what + ": losses of rows");
  expect(cut.finished == one.finished, what + ": rows reported as final");
  for (std::size_t row = 0; row < one.gradients.size(); ++row) {
    const double error = distance(cut.gradients[row], one.gradients[row]);
    expect(error < limits.gradient,
           fmt::format("{}: gradient of row {} is off by {:.2e}, not {:.2e}", what, row, error, limits.gradient));
  }
}

void check_network(comm::Communicator& group, const Case& c, Precision precision) {
  const config::ModelConfig model = model_of(c, group.size());
  const Outcome one = run(model, {}, nullptr);
  const bool exact = precision == Precision::fp32;
  const Limits limits = exact ? fp32_limits(model) : bf16_limits(one, run(model, {precision}, nullptr));
  for (const bool sequence : {true, false}) {
    for (const bool recompute : {false, true}) {
      const std::string what = fmt::format("{} ranks, {}{}{}{}", group.size(), c.text(), sequence ? " sequence" : "",
                                           recompute ? " recompute" : "", exact ? "" : " bf16");
      const Outcome cut = run(model, {precision, sequence, recompute}, &group);
      compare(one, cut, limits, exact, what);
      expect_equal_on_all_ranks(group, cut, what);
    }
  }
}

void check_inspection(comm::Communicator& group, const Case& c) {
  const config::ModelConfig model = model_of(c, group.size());
  const Pack pack(model.vocab_size);
  const auto inspect = [&](const TensorParallel& parallel) {
    const auto network = Network::make(model, Precision::fp32, slots, Purpose::evaluation, false, parallel);
    const Weights weights(network->table());
    network->load(weights.flat, weights.zl_init);
    return network->inspect(pack.view());
  };

  const Inspection one = inspect({});
  const Inspection cut = inspect({&group, true});

  const double most = fp32_limits(model).forward;
  expect(distance(cut.z, one.z) < most && distance(cut.logits, one.logits) < most, c.text() + ": whole states, logits");
  expect(cut.trace.size() == one.trace.size(), c.text() + ": steps of the trace");
  for (std::size_t i = 0; i < std::min(cut.trace.size(), one.trace.size()); ++i) {
    expect(cut.trace[i].first == one.trace[i].first && distance(cut.trace[i].second, one.trace[i].second) < most,
           c.text() + ": trace of " + one.trace[i].first);
  }
}

/// Logits after two prompts and after each of three tokens.
std::vector<float> decode(const config::ModelConfig& model, Precision precision, const TensorParallel& parallel) {
  const auto decoder = Decoder::make(model, precision, {3, 24, 20}, parallel);
  const Weights weights(decoder->table());
  decoder->load(weights.flat, weights.zl_init);
  const Ints long_prompt{1, 7, 3, 9, 9, 2, 0, 11, 5};
  const std::vector<Prompt> prompts{{2, long_prompt}, {0, std::span(long_prompt).first(1)}};
  std::vector<float> all;
  const auto keep = [&](Matrix<const float> logits) {
    for (std::int64_t r = 0; r < logits.rows; ++r) {
      all.insert(all.end(), logits.row(r), logits.row(r) + logits.cols);
    }
  };
  keep(decoder->prefill(prompts));
  for (const std::int32_t token : {4, 12, 6}) {
    keep(decoder->step(std::vector<NextToken>{{0, token}, {2, token + 1}}));
  }
  return all;
}

void check_decoder(comm::Communicator& group, const Case& c, Precision precision) {
  const config::ModelConfig model = model_of(c, group.size());
  const std::vector<float> one = decode(model, Precision::fp32, {});
  const std::vector<float> cut = decode(model, precision, {&group, true});
  const std::string bytes(reinterpret_cast<const char*>(cut.data()), cut.size() * sizeof(float));

  const double error = distance(cut, one);
  const double most =
      precision == Precision::fp32 ? fp32_limits(model).forward : 2 * distance(decode(model, precision, {}), one);
  expect(error < most, fmt::format("{}: logits of the decoder are off by {:.2e}, not {:.2e}", c.text(), error, most));
  for (const std::string& theirs : group.gather(bytes)) {
    expect(theirs == bytes, c.text() + ": logits of the decoder differ between ranks");
  }
}

}  // namespace

int main() {
  comm::MpiSession session;
  comm::Communicator& world = session.world();
  for (const char* architecture : {"hrm", "transformer", "trm", "ut", "rins"}) {
    for (const bool post : {false, true}) {
      const char* norm = post ? "post" : "pre";
      // Every pair of position and attention, half of them with each norm.
      const Case with_rope{architecture, norm, "rope", post ? "causal" : "prefixlm"};
      const Case without{architecture, norm, "none", post ? "prefixlm" : "causal"};
      for (const Case& c : {with_rope, without}) {
        check_network(world, c, Precision::fp32);
        check_decoder(world, c, Precision::fp32);
      }
      check_network(world, with_rope, Precision::bf16);
      check_decoder(world, with_rope, Precision::bf16);
      check_inspection(world, without);
    }
  }
  std::vector<std::int64_t> worst{failures};
  world.max(worst);
  return worst[0] == 0 ? 0 : 1;
}
