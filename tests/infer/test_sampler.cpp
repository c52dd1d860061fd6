#include "infer/sampler.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace hrm::infer {
namespace {

TEST(Sampler, WithoutTemperatureIsGreedy) {
  EXPECT_TRUE(Sampler({}).greedy());
  EXPECT_FALSE(Sampler({.temperature = 0.5}).greedy());
}

TEST(Sampler, ANumberDependsOnSeedPromptAndPosition) {
  const auto numbers = [](std::uint64_t seed, std::int64_t prompt) {
    const Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<double> drawn;
    for (int i = 0; i < 40; ++i) {
      drawn.push_back(sampler.number(prompt, i));
      EXPECT_TRUE(drawn.back() >= 0 && drawn.back() < 1);
    }
    return drawn;
  };

  EXPECT_EQ(numbers(1, 2), numbers(1, 2));
  EXPECT_NE(numbers(1, 2), numbers(2, 2));
  EXPECT_NE(numbers(1, 2), numbers(1, 3));
  EXPECT_NE(numbers(1, 2)[0], numbers(1, 2)[1]);
}

}  // namespace
}  // namespace hrm::infer
