#include <gtest/gtest.h>

#include <cmath>

#include "base/random.hpp"

namespace hrm {

// Known-answer vectors of Philox4x32-10 (Random123 distribution, kat_vectors).
TEST(Random, PhiloxKnownAnswers) {
  const std::array<std::uint32_t, 4> zero = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), zero);
  const std::array<std::uint32_t, 4> ones = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  EXPECT_EQ(philox({~0U, ~0U, ~0U, ~0U}, {~0U, ~0U}), ones);
}

TEST(Random, NormalHasUnitMoments) {
  const RandomStream stream(7, RandomPurpose::initial_weights);
  double sum = 0;
  double squares = 0;
  const int n = 100000;
  for (int i = 0; i < n; ++i) {
    const double g = stream.normal(static_cast<std::uint64_t>(i));
    sum += g;
    squares += g * g;
  }
  EXPECT_NEAR(sum / n, 0.0, 5 / std::sqrt(n));  // five standard errors
  EXPECT_NEAR(squares / n, 1.0, 5 * std::sqrt(2.0 / n));
}

TEST(Random, BelowStaysInRange) {
  const RandomStream stream(1, RandomPurpose::epoch_order);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    EXPECT_LT(stream.below(i, 7), 7U);
  }
}

}  // namespace hrm
