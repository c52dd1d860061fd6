#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.hpp"
#include "config/resolve.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"
#include "tests/support/reference_model.hpp"

namespace hrm::model {
namespace {

using reference::Ints;
using reference::ModelPack;
using reference::ModelTwin;

/// Draws sizes that no golden file has: odd head counts and sizes, tiny vocabularies, one-token sequences, full packs.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : stream_(seed, RandomPurpose::demo) {}
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(stream_.below(next_++, static_cast<std::uint64_t>(high - low + 1)));
  }
  bool coin() { return between(0, 1) == 1; }

 private:
  RandomStream stream_;
  std::uint64_t next_ = 0;
};

config::ModelConfig draw_model(Draw& draw) {
  const std::vector<std::string> architectures = {"hrm", "hrm", "transformer", "trm", "ut", "rins"};
  config::ModelConfig config;
  config.architecture = architectures[static_cast<std::size_t>(draw.between(0, 5))];
  const bool may_halve = config.architecture != "transformer" && config.architecture != "ut";
  config.half_layers = may_halve && draw.coin();
  config.layers = config.half_layers ? 2 * draw.between(1, 2) : draw.between(1, 3);
  config.num_heads = draw.between(1, 5);
  config.hidden_size = config.num_heads * 2 * draw.between(1, 9);
  config.intermediate_size = draw.between(1, 40);
  config.vocab_size = draw.between(2, 70);
  config.vocab_multiple = 1;
  config.h_cycles = draw.between(1, 3);
  config.l_cycles = draw.between(1, 3);
  config.cycles = draw.between(1, 4);
  config.bp_cycles = draw.between(1, 4);
  config.l_bp_cycles = draw.between(1, 3);
  config.h_bp_steps = draw.between(1, 3);
  config.l_bp_steps = draw.between(1, 6);
  config.bp_max_steps = config.bp_min_steps = draw.between(2, 12);
  config.attention = draw.coin() ? "prefixlm" : "causal";
  config.norm = draw.between(0, 3) == 0 ? "post" : "pre";
  config.position = draw.between(0, 3) == 0 ? "none" : "rope";
  config.norm_eps = 1e-5;
  config.max_seq_len = 64;
  return config::complete_model(config, 0);
}

ModelPack draw_pack(Draw& draw, std::int64_t vocab) {
  ModelPack pack;
  pack.cu_seqlens = {0};
  const std::int64_t sequences = draw.between(1, 4);
  for (std::int64_t s = 0; s < sequences; ++s) {
    const std::int64_t prefix = draw.between(1, 12);
    const std::int64_t causal = draw.coin() ? draw.between(0, 10) : 0;
    for (std::int64_t t = 0; t < prefix + causal; ++t) {
      pack.inputs.push_back(static_cast<std::int32_t>(draw.between(0, vocab - 1)));
      pack.position_ids.push_back(static_cast<std::int32_t>(t));
      pack.labels.push_back(t >= prefix - 1 ? static_cast<std::int32_t>(draw.between(0, vocab - 1)) : -1);
    }
    pack.prefix_lens.push_back(static_cast<std::int32_t>(prefix));
    pack.cu_seqlens.push_back(static_cast<std::int32_t>(pack.inputs.size()));
  }
  const std::size_t padded = pack.inputs.size() + static_cast<std::size_t>(draw.coin() ? draw.between(1, 20) : 0);
  pack.inputs.resize(padded, 0);
  pack.position_ids.resize(padded, 0);
  pack.labels.resize(padded, -1);
  return pack;
}

/// The pack as the network takes it.
struct NetworkPack {
  const ModelPack& pack;
  Ints rows;
  Ints labels;
  Ints sequence;

  explicit NetworkPack(const ModelPack& given) : pack(given) {
    std::int32_t s = 0;
    for (std::int32_t t = 0; t < static_cast<std::int32_t>(pack.labels.size()); ++t) {
      s += t == pack.cu_seqlens[static_cast<std::size_t>(s) + 1] && s + 2 < std::ssize(pack.cu_seqlens) ? 1 : 0;
      if (pack.labels[static_cast<std::size_t>(t)] >= 0) {
        rows.push_back(t);
        labels.push_back(pack.labels[static_cast<std::size_t>(t)]);
        sequence.push_back(s);
      }
    }
  }
  PackView view() const {
    return {pack.inputs, pack.position_ids, pack.cu_seqlens, pack.prefix_lens, {rows, labels, sequence}};
  }
};

class VectorSink : public GradientSink {
 public:
  explicit VectorSink(std::size_t size) : values(size) {}
  std::span<float> flat() override { return values; }
  void done(int) override {}
  std::vector<float> values;
};

/// Weights in both forms: flat float32 for the network, float64 by name for the twin.
struct BothWeights {
  std::vector<float> flat;
  std::vector<float> zl_init;
  ModelTwin::Weights named;

  explicit BothWeights(const ParameterTable& table) : flat(static_cast<std::size_t>(table.flat_size)) {
    for (const Parameter& row : table.rows) {
      std::vector<float> values(static_cast<std::size_t>(row.count()));
      initial_values(row, 11, 0, values);
      named[row.name].assign(values.begin(), values.end());
      if (row.trainable) {
        std::copy(values.begin(), values.end(), flat.begin() + row.offset);
      } else {
        zl_init = values;
      }
    }
  }
};

/// Slope of the twin's truncated loss along `direction`, by a central difference.
double twin_slope(ModelTwin& twin, const ModelTwin::Weights& weights, const ModelTwin::Weights& direction, double h) {
  const auto moved = [&](double by) {
    ModelTwin::Weights w = weights;
    for (const auto& [name, values] : direction) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        w[name][i] += by * values[i];
      }
    }
    return twin.loss(w);
  };
  return (moved(h) - moved(-h)) / (2 * h);
}

}  // namespace

class AgainstTwin : public testing::TestWithParam<int> {};

TEST_P(AgainstTwin, LogitsLossAndTruncatedGradient) {
  Draw draw(static_cast<std::uint64_t>(GetParam()));
  const config::ModelConfig config = draw_model(draw);
  const ModelPack pack = draw_pack(draw, config.vocab_size);
  const NetworkPack packed(pack);
  const ParameterTable table = parameter_table(config);
  const BothWeights weights(table);
  const auto slots = static_cast<std::int64_t>(pack.inputs.size());
  const Horizon horizon = horizons(config).front();
  const auto network = Network::make(config, Precision::fp32, slots, Purpose::training, draw.coin());
  network->load(weights.flat, weights.zl_init);

  ModelTwin twin(config, pack);
  const double loss = twin.loss(weights.named);
  const reference::Values logits = twin.logits(weights.named);
  const Inspection seen = network->inspect(packed.view());
  VectorSink sink(weights.flat.size());
  const auto count = static_cast<double>(packed.rows.size());
  const PackSums sums = network->forward_backward(packed.view(), horizon, count, sink);

  double largest = 0;
  double error = 0;
  const std::size_t real = static_cast<std::size_t>(pack.cu_seqlens.back() * config.vocab_size);
  for (std::size_t i = 0; i < real; ++i) {
    largest = std::max(largest, std::abs(logits[i]));
    error = std::max(error, std::abs(logits[i] - static_cast<double>(seen.logits[i])));
  }
  EXPECT_LT(error, 1e-5 * largest) << config.architecture;  // the fp32 limit of the specification, part D
  EXPECT_NEAR(sums.loss_sum / count, loss, 1e-5 * std::max(1.0, loss));

  // Row by row: the slope along a row's gradient is |g|². Steps that are off stay at their values.
  twin.frozen = twin.trace;
  for (const Step& step : unroll(config, horizon)) {
    if (step.on) {
      twin.on.push_back(step.name);
    }
  }
  double overall = 0;
  for (const float g : sink.values) {
    overall = std::max(overall, static_cast<double>(std::abs(g)));
  }
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    const Parameter& parameter = table.rows[row];
    if (!network->has_gradient(static_cast<int>(row), horizon)) {
      continue;
    }
    const auto first = sink.values.begin() + parameter.offset;
    reference::Values g(first, first + parameter.count());
    double square = 0;
    for (const double v : g) {
      square += v * v;
    }
    const double norm = std::sqrt(square);
    if (norm < 1e-4 * overall) {
      continue;  // its float32 rounding is as large as itself
    }
    for (double& v : g) {
      v /= norm;
    }
    EXPECT_NEAR(twin_slope(twin, weights.named, {{parameter.name, g}}, 1e-5) / norm, 1.0, 1e-3)
        << config.architecture << " " << parameter.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AgainstTwin, testing::Range(1, 41));

}  // namespace hrm::model
