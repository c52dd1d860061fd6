#include "infer/sampler.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>

namespace hrm::infer {
namespace {

/// Probabilities 0.5, 0.1, 0.3, 0.1.
const std::array<float, 4> logits{std::log(0.5F), std::log(0.1F), std::log(0.3F), std::log(0.1F)};

std::map<std::int32_t, double> frequencies(const SamplingOptions& options) {
  constexpr int draws = 4000;
  Sampler sampler(options);
  std::map<std::int32_t, double> share;
  for (int i = 0; i < draws; ++i) {
    share[sampler.pick(logits, 3, i)] += 1.0 / draws;
  }
  return share;
}

TEST(Sampler, GreedyTakesTheLowestOfEqualTokens) {
  const std::array<float, 4> tie{0, 2, 2, 1};

  EXPECT_EQ(Sampler({}).pick(tie, 0, 0), 1);
}

TEST(Sampler, DrawsByProbability) {
  // Five standard deviations of a share of 4,000 draws are below 0.04.
  const auto share = frequencies({.temperature = 1});

  EXPECT_NEAR(share.at(0), 0.5, 0.04);
  EXPECT_NEAR(share.at(2), 0.3, 0.04);
  EXPECT_NEAR(share.at(3), 0.1, 0.04);
}

TEST(Sampler, TemperatureSharpens) {
  // Squared probabilities: 0.25 / 0.36 of the mass.
  EXPECT_NEAR(frequencies({.temperature = 0.5}).at(0), 0.25 / 0.36, 0.04);
}

TEST(Sampler, TopKAndTopPKeepTheMostLikely) {
  EXPECT_EQ(frequencies({.temperature = 1, .top_k = 2}).size(), 2U);
  EXPECT_EQ(frequencies({.temperature = 1, .top_p = 0.75}).size(), 2U);
  EXPECT_EQ(frequencies({.temperature = 1, .top_p = 0.01}).size(), 1U);
}

TEST(Sampler, ADrawDependsOnSeedPromptAndPosition) {
  const auto draws = [](std::uint64_t seed, std::int64_t prompt) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<std::int32_t> tokens;
    for (int i = 0; i < 40; ++i) {
      tokens.push_back(sampler.pick(logits, prompt, i));
    }
    return tokens;
  };

  EXPECT_EQ(draws(1, 2), draws(1, 2));
  EXPECT_NE(draws(1, 2), draws(2, 2));
  EXPECT_NE(draws(1, 2), draws(1, 3));
}

}  // namespace
}  // namespace hrm::infer
