#include "model/decoder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/random.hpp"
#include "config/resolve.hpp"
#include "model/network.hpp"
#include "model/parameters.hpp"
#include "tests/support/test_device.hpp"

namespace hrm::model {
namespace {

struct Case {
  std::string architecture;
  std::string attention = "prefixlm";
  std::string norm = "pre";
  std::string position = "rope";
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.architecture << '_' << c.attention << '_' << c.norm << '_' << c.position;
}

config::ModelConfig small_model(const Case& c) {
  config::ModelConfig model;
  model.architecture = c.architecture;
  model.half_layers = c.architecture != "transformer" && c.architecture != "ut";
  model.layers = 4;
  model.hidden_size = 48;
  model.num_heads = 3;
  model.intermediate_multiple = 8;
  model.l_cycles = c.architecture == "rins" ? 7 : 3;
  model.vocab_size = 90;
  model.vocab_multiple = 32;
  model.attention = c.attention;
  model.norm = c.norm;
  model.position = c.position;
  model.max_seq_len = 256;
  return config::complete_model(model, 90);
}

/// Random weights in the layout of the parameter table.
struct Weights {
  std::vector<float> flat;
  std::vector<float> zl_init;

  explicit Weights(const config::ModelConfig& model) {
    const ParameterTable table = parameter_table(model);
    flat.resize(static_cast<std::size_t>(table.flat_size));
    for (const Parameter& row : table.rows) {
      if (!row.trainable) {
        zl_init.resize(static_cast<std::size_t>(row.count()));
        initial_values(row, 7, 0, zl_init);
        continue;
      }
      initial_values(
          row, 7, 0,
          std::span(flat).subspan(static_cast<std::size_t>(row.offset), static_cast<std::size_t>(row.count())));
    }
  }
};

using Tokens = std::vector<std::int32_t>;

Tokens random_tokens(std::int64_t count, std::uint32_t substream) {
  const RandomStream random(3, RandomPurpose::sampling, substream);
  Tokens tokens;
  for (std::int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(i), 90)));
  }
  return tokens;
}

/// Slots of the network that the decoder is compared with.
constexpr std::int64_t slots = 80;

/// Logits (slots, V) of every position of `tokens` whose first `prefix` tokens are the prompt, computed at once.
std::vector<float> full_evaluation(Network& network, Tokens tokens, std::int32_t prefix) {
  const Tokens bounds{0, static_cast<std::int32_t>(tokens.size())};
  const Tokens prefixes{prefix};
  Tokens positions(slots);
  std::iota(positions.begin(), positions.begin() + bounds[1], 0);
  tokens.resize(slots);
  return network.inspect({tokens, positions, bounds, prefixes, {}}).logits;
}

/// One sequence: a prompt and the tokens that follow it, whatever the model says.
struct Script {
  Tokens prompt;
  Tokens continuation;
};

/// Logits after the prompt and after each token of its continuation.
using Rows = std::vector<std::vector<float>>;

void append_row(Rows& rows, Matrix<const float> logits, std::int64_t row) {
  rows.emplace_back(logits.row(row), logits.row(row) + logits.cols);
}

/// Plays all scripts side by side in lanes in reverse order; shorter ones leave the batch early.
std::vector<Rows> play(Decoder& decoder, const std::vector<Script>& scripts) {
  const auto lane_of = [&](std::size_t i) { return static_cast<int>(scripts.size() - 1 - i); };
  std::vector<Rows> result(scripts.size());
  std::vector<Prompt> prompts;
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    prompts.push_back({lane_of(i), scripts[i].prompt});
  }
  const Matrix<const float> first = decoder.on_host(decoder.prefill(prompts));
  for (std::size_t i = 0; i < scripts.size(); ++i) {
    append_row(result[i], first, static_cast<std::int64_t>(i));
  }
  for (std::size_t t = 0;; ++t) {
    std::vector<NextToken> next;
    std::vector<std::size_t> who;
    for (std::size_t i = 0; i < scripts.size(); ++i) {
      if (t < scripts[i].continuation.size()) {
        next.push_back({lane_of(i), scripts[i].continuation[t]});
        who.push_back(i);
      }
    }
    if (next.empty()) {
      return result;
    }
    const Matrix<const float> logits = decoder.on_host(decoder.step(next));
    for (std::size_t i = 0; i < who.size(); ++i) {
      append_row(result[who[i]], logits, static_cast<std::int64_t>(i));
    }
  }
}

std::vector<Script> scripts() {
  return {{random_tokens(5, 1), random_tokens(6, 2)},
          {random_tokens(1, 3), random_tokens(9, 4)},
          {random_tokens(70, 5), random_tokens(3, 6)},
          {random_tokens(33, 7), {}}};
}

float largest(std::span<const float> values) {
  float most = 0;
  for (const float v : values) {
    most = std::max(most, std::abs(v));
  }
  return most;
}

class DecoderTest : public testing::TestWithParam<Case> {};

TEST_P(DecoderTest, EqualsAFullEvaluation) {
  const config::ModelConfig model = small_model(GetParam());
  const Weights weights(model);
  const auto network = Network::make(model, Precision::fp32, slots, Purpose::evaluation);
  network->load(weights.flat, weights.zl_init);
  const auto decoder = Decoder::make(model, Precision::fp32, {4, slots, 72}, {}, test::test_device());
  decoder->load(weights.flat, weights.zl_init);

  const std::vector<Rows> rows = play(*decoder, scripts());

  for (std::size_t s = 0; s < rows.size(); ++s) {
    const Script script = scripts()[s];
    Tokens all = script.prompt;
    all.insert(all.end(), script.continuation.begin(), script.continuation.end());
    const auto expected = full_evaluation(*network, all, static_cast<std::int32_t>(script.prompt.size()));
    const auto vocab = expected.size() / slots;
    const float limit = 1e-5F * largest(expected);
    for (std::size_t t = 0; t < rows[s].size(); ++t) {
      ASSERT_EQ(rows[s][t].size(), vocab);
      const float* row = expected.data() + (script.prompt.size() - 1 + t) * vocab;
      for (std::size_t v = 0; v < vocab; ++v) {
        ASSERT_NEAR(rows[s][t][v], row[v], limit) << "script " << s << " step " << t << " token " << v;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, DecoderTest,
                         testing::Values(Case{"hrm"}, Case{"hrm", "causal"}, Case{"hrm", "prefixlm", "post"},
                                         Case{"transformer"}, Case{"transformer", "causal", "pre", "none"}, Case{"trm"},
                                         Case{"ut"}, Case{"ut", "causal", "post"}, Case{"rins"}));

class DecoderBatchTest : public testing::TestWithParam<Precision> {};

TEST_P(DecoderBatchTest, BitsDoNotDependOnTheBatch) {
  const config::ModelConfig model = small_model({"hrm"});
  const Weights weights(model);
  const auto decoder = Decoder::make(model, GetParam(), {4, slots, 72}, {}, test::test_device());
  decoder->load(weights.flat, weights.zl_init);

  const std::vector<Rows> together = play(*decoder, scripts());

  for (std::size_t s = 0; s < together.size(); ++s) {
    EXPECT_EQ(play(*decoder, {scripts()[s]}).front(), together[s]) << "script " << s;
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, DecoderBatchTest, testing::Values(Precision::fp32, Precision::bf16));

TEST(Decoder, TokensAreChosenFromTheLogits) {
  const config::ModelConfig model = small_model({"hrm"});
  const Weights weights(model);
  const auto decoder = Decoder::make(model, Precision::fp32, {3, slots, 72}, {}, test::test_device());
  decoder->load(weights.flat, weights.zl_init);
  const Tokens prompts[] = {random_tokens(5, 1), random_tokens(9, 2), random_tokens(20, 3)};
  const Prompt starting[] = {{2, prompts[0]}, {0, prompts[1]}, {1, prompts[2]}};

  const Matrix<const float> logits = decoder->prefill(starting);
  Rows rows;
  for (std::int64_t row = 0; row < 3; ++row) {
    append_row(rows, decoder->on_host(logits), row);
  }
  for (const std::int64_t vocabulary : {90, 7}) {
    Tokens expected;
    for (const std::vector<float>& row : rows) {
      expected.push_back(
          static_cast<std::int32_t>(std::max_element(row.begin(), row.begin() + vocabulary) - row.begin()));
    }
    const std::span<const std::int32_t> likely = decoder->most_likely(logits, vocabulary);
    EXPECT_EQ(Tokens(likely.begin(), likely.end()), expected);

    // The only one that is kept is the most likely, the first of all is token 0.
    const std::vector<double> numbers = {0.0, 0.0, 0.0};
    const std::span<const std::int32_t> one = decoder->draw(logits, vocabulary, {1, 1, 1}, numbers);
    EXPECT_EQ(Tokens(one.begin(), one.end()), expected);
    const std::span<const std::int32_t> first = decoder->draw(logits, vocabulary, {}, numbers);
    EXPECT_EQ(Tokens(first.begin(), first.end()), Tokens(3, 0));
  }
}

TEST(Decoder, LanesAreUsedAgain) {
  const config::ModelConfig model = small_model({"rins"});
  const Weights weights(model);
  const auto decoder = Decoder::make(model, Precision::fp32, {1, slots, 72}, {}, test::test_device());
  decoder->load(weights.flat, weights.zl_init);
  const Script script = scripts()[0];
  const std::vector<Rows> fresh = play(*decoder, {script});
  play(*decoder, {scripts()[2]});

  EXPECT_EQ(play(*decoder, {script}), fresh);
}

TEST(Decoder, RefusesToGoBeyondItsContext) {
  const config::ModelConfig model = small_model({"transformer"});
  const Weights weights(model);
  const auto decoder = Decoder::make(model, Precision::fp32, {1, 6, 5}, {}, test::test_device());
  decoder->load(weights.flat, weights.zl_init);

  EXPECT_THROW(play(*decoder, {{random_tokens(5, 1), random_tokens(2, 2)}}), InternalError);
}

}  // namespace
}  // namespace hrm::model
