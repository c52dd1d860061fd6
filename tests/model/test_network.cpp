#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "base/bf16.hpp"
#include "base/error.hpp"
#include "config/resolve.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"

namespace hrm::model {
namespace {

config::ModelConfig small(const std::string& architecture) {
  config::ModelConfig config;
  config.architecture = architecture;
  config.half_layers = architecture == "hrm" || architecture == "rins" || architecture == "trm";
  config.layers = config.half_layers ? 2 : 1;
  config.hidden_size = 24;
  config.num_heads = 3;
  config.intermediate_size = 40;
  config.vocab_size = 50;
  config.vocab_multiple = 1;
  config.h_cycles = 2;
  config.l_cycles = 2;
  config.cycles = 3;
  config.bp_cycles = 2;
  config.l_bp_cycles = 2;
  config.h_bp_steps = 2;
  config.l_bp_steps = 3;
  config.bp_max_steps = 6;
  config.max_seq_len = 64;
  return config::complete_model(config, 0);
}

/// Three sequences (a prefix of one token, a response of one token, an ordinary one) and padding.
struct TestPack {
  std::vector<std::int32_t> inputs = std::vector<std::int32_t>(40);
  std::vector<std::int32_t> positions = std::vector<std::int32_t>(40);
  std::vector<std::int32_t> cu_seqlens = {0, 9, 14, 33};
  std::vector<std::int32_t> prefixes = {1, 5, 8};
  std::vector<std::int32_t> rows;
  std::vector<std::int32_t> labels;
  std::vector<std::int32_t> sequence;

  TestPack() {
    for (int s = 0; s < 3; ++s) {
      for (int t = cu_seqlens[static_cast<std::size_t>(s)]; t < cu_seqlens[static_cast<std::size_t>(s) + 1]; ++t) {
        inputs[static_cast<std::size_t>(t)] = (t * 17 + 5) % 50;
        positions[static_cast<std::size_t>(t)] = t - cu_seqlens[static_cast<std::size_t>(s)];
        if (positions[static_cast<std::size_t>(t)] >= prefixes[static_cast<std::size_t>(s)] - 1) {
          rows.push_back(t);
          labels.push_back((t * 29 + 3) % 50);
          sequence.push_back(s);
        }
      }
    }
  }
  PackView view() const { return {inputs, positions, cu_seqlens, prefixes, {rows, labels, sequence}}; }
};

struct Weights {
  std::vector<float> flat;
  std::vector<float> zl_init;

  explicit Weights(const ParameterTable& table) : flat(static_cast<std::size_t>(table.flat_size)) {
    for (const Parameter& row : table.rows) {
      if (row.trainable) {
        initial_values(
            row, 3, 0,
            std::span(flat).subspan(static_cast<std::size_t>(row.offset), static_cast<std::size_t>(row.count())));
      } else {
        zl_init.resize(static_cast<std::size_t>(row.count()));
        initial_values(row, 3, 0, zl_init);
      }
    }
  }
};

class VectorSink : public GradientSink {
 public:
  explicit VectorSink(std::size_t size) : values(size) {}
  std::span<float> flat() override { return values; }
  void done(int row) override { finished.push_back(row); }
  std::vector<float> values;
  std::vector<int> finished;
};

Horizon deepest(const config::ModelConfig& config) {
  return horizons(config).back();
}

struct Outcome {
  PackSums sums;
  std::vector<float> gradient;
  std::vector<int> finished;
};

Outcome run(const config::ModelConfig& config, Precision precision, const Weights& weights, Horizon horizon,
            bool recompute = false) {
  const TestPack pack;
  const auto network = Network::make(config, precision, 40, Purpose::training, recompute);
  network->load(weights.flat, weights.zl_init);
  VectorSink sink(weights.flat.size());
  const PackSums sums = network->forward_backward(pack.view(), horizon, static_cast<double>(pack.rows.size()), sink);
  return {sums, sink.values, sink.finished};
}

double loss_at(const config::ModelConfig& config, const Weights& weights) {
  const TestPack pack;
  const auto network = Network::make(config, Precision::fp32, 40, Purpose::evaluation);
  network->load(weights.flat, weights.zl_init);
  return network->evaluate(pack.view()).loss_sum / static_cast<double>(pack.rows.size());
}

}  // namespace

class EveryArchitecture : public testing::TestWithParam<const char*> {};

// Central difference along the gradient of a whole step: the slope of the loss must be |g|². Only at full depth is the
// gradient that of the loss.
TEST_P(EveryArchitecture, FullDepthGradientIsTheSlopeOfTheLoss) {
  config::ModelConfig config = small(GetParam());
  config.bp_cycles = config.cycles;
  config.l_bp_cycles = config.l_cycles;
  config.l_bp_steps = config.h_cycles * config.l_cycles;
  const Weights weights(parameter_table(config));
  const std::vector<float> gradient = run(config, Precision::fp32, weights, deepest(config)).gradient;
  const double square = std::inner_product(gradient.begin(), gradient.end(), gradient.begin(), 0.0);

  const double h = 1e-2 / std::sqrt(square);  // error: h² third derivative, plus 1e-7 loss / h
  Weights forward = weights;
  Weights backward = weights;
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    forward.flat[i] += static_cast<float>(h * gradient[i]);
    backward.flat[i] -= static_cast<float>(h * gradient[i]);
  }
  const double slope = (loss_at(config, forward) - loss_at(config, backward)) / (2 * h);

  EXPECT_NEAR(slope / square, 1.0, 5e-3);
}

TEST_P(EveryArchitecture, ThreadsDoNotChangeABit) {
  const config::ModelConfig config = small(GetParam());
  const Weights weights(parameter_table(config));
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    omp_set_num_threads(1);
    const Outcome one = run(config, precision, weights, deepest(config));
    for (const int threads : {3, 8}) {
      omp_set_num_threads(threads);
      const Outcome many = run(config, precision, weights, deepest(config));
      EXPECT_EQ(one.gradient, many.gradient) << threads << " threads";
      EXPECT_EQ(one.sums.loss_sum, many.sums.loss_sum);
    }
  }
  omp_set_num_threads(omp_get_num_procs());
}

TEST_P(EveryArchitecture, RecomputationChangesNoBit) {
  const config::ModelConfig config = small(GetParam());
  const Weights weights(parameter_table(config));

  const Outcome kept = run(config, Precision::bf16, weights, deepest(config), false);
  const Outcome recomputed = run(config, Precision::bf16, weights, deepest(config), true);

  EXPECT_EQ(kept.gradient, recomputed.gradient);
}

TEST_P(EveryArchitecture, EveryRowWithGradientIsReportedOnceAndOnlyThose) {
  const config::ModelConfig config = small(GetParam());
  const ParameterTable table = parameter_table(config);
  for (const Horizon horizon : horizons(config)) {
    const Outcome outcome = run(config, Precision::fp32, Weights(table), horizon);
    std::vector<int> expected;
    const auto network = Network::make(config, Precision::fp32, 40, Purpose::training);
    for (int row = 0; row < static_cast<int>(table.rows.size()); ++row) {
      if (network->has_gradient(row, horizon)) {
        expected.push_back(row);
      }
    }
    std::vector<int> finished = outcome.finished;
    std::sort(finished.begin(), finished.end());
    EXPECT_EQ(finished, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Network, EveryArchitecture, testing::Values("hrm", "transformer", "trm", "ut", "rins"));

TEST(Network, Bf16StaysCloseToFp32) {
  const config::ModelConfig config = small("hrm");
  const Weights weights(parameter_table(config));

  const Outcome exact = run(config, Precision::fp32, weights, {6});
  const Outcome rounded = run(config, Precision::bf16, weights, {6});

  // bfloat16 keeps 8 bits: a state of unit RMS carries 2^-9 relative error per rounding; some 20 roundings in a row add
  // up like sqrt(20) * 2^-9 ~ 1 % of a loss of order ln V.
  EXPECT_NEAR(rounded.sums.loss_sum / exact.sums.loss_sum, 1.0, 0.02);
}

namespace {

/// Weights of a network in its compute type, bucket by bucket, given when asked for.
class LateWeights : public WeightFeed {
 public:
  LateWeights(Network& network, Precision precision, const Weights& weights)
      : network_(network), precision_(precision), weights_(weights) {}

  void need(int bucket) override {
    if (std::find(asked.begin(), asked.end(), bucket) != asked.end()) {
      return;
    }
    asked.push_back(bucket);
    const FlatRange range = network_.table().buckets[static_cast<std::size_t>(bucket)].range;
    const std::span<const float> values =
        std::span(weights_.flat)
            .subspan(static_cast<std::size_t>(range.first), static_cast<std::size_t>(range.count()));
    if (precision_ == Precision::fp32) {
      network_.load_bucket(bucket, std::as_bytes(values));
      return;
    }
    std::vector<bf16> rounded;
    std::transform(values.begin(), values.end(), std::back_inserter(rounded), to_bf16);
    network_.load_bucket(bucket, std::as_bytes(std::span(rounded)));
  }
  void poll() override { ++polls; }

  std::vector<int> asked;
  int polls = 0;

 private:
  Network& network_;
  Precision precision_;
  const Weights& weights_;
};

/// Counts what comes between two reports of final rows.
class PolledSink : public VectorSink {
 public:
  using VectorSink::VectorSink;
  void poll() override { ++polls; }
  int polls = 0;
};

}  // namespace

TEST_P(EveryArchitecture, BucketsGivenWhenFirstNeededChangeNoBit) {
  const config::ModelConfig config = small(GetParam());
  const TestPack pack;
  const auto divisor = static_cast<double>(pack.rows.size());
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const auto network = Network::make(config, precision, 40, Purpose::training);
    const Weights weights(network->table());
    LateWeights late(*network, precision, weights);
    network->load_constant(weights.zl_init);
    network->set_feed(&late);
    VectorSink sink(weights.flat.size());

    const PackSums sums = network->forward_backward(pack.view(), deepest(config), divisor, sink);

    const Outcome expected = run(config, precision, weights, deepest(config));
    EXPECT_EQ(sink.values, expected.gradient);
    EXPECT_EQ(sums.loss_sum, expected.sums.loss_sum);
    EXPECT_EQ(late.asked, network->bucket_order());
    EXPECT_EQ(late.asked.size(), network->table().buckets.size());
    EXPECT_GE(late.polls, config.stack_layers());

    late.asked.clear();
    network->evaluate(pack.view());
    EXPECT_EQ(late.asked, network->bucket_order());
    late.asked.clear();
    network->inspect(pack.view());
    EXPECT_EQ(late.asked, network->bucket_order());
  }
}

TEST_P(EveryArchitecture, TheSinkIsPolledTwiceInEveryLayer) {
  const config::ModelConfig config = small(GetParam());
  const TestPack pack;
  const auto network = Network::make(config, Precision::fp32, 40, Purpose::training);
  PolledSink sink(static_cast<std::size_t>(network->table().flat_size));
  const Weights weights(network->table());
  network->load(weights.flat, weights.zl_init);

  network->forward_backward(pack.view(), deepest(config), 1.0, sink);

  std::int64_t layers = 0;
  for (const Step& step : unroll(config, deepest(config))) {
    layers += step.on ? config.stack_layers() : 0;
  }
  EXPECT_EQ(sink.polls, 2 * layers);
}

TEST(Network, BucketsAreOrderedByFirstUse) {
  const auto order = [](const std::string& architecture) {
    return Network::make(small(architecture), Precision::fp32, 8, Purpose::evaluation)->bucket_order();
  };

  EXPECT_EQ(order("transformer"), (std::vector<int>{0, 2, 1}));
  EXPECT_EQ(order("hrm"), (std::vector<int>{0, 3, 2, 1}));  // L before H
}

TEST(Network, ABucketOfAnotherSizeIsOurBug) {
  const auto network = Network::make(small("ut"), Precision::fp32, 8, Purpose::evaluation);

  EXPECT_THROW(network->load_bucket(0, std::vector<std::byte>(64)), InternalError);
}

}  // namespace hrm::model
