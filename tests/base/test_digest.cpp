#include <gtest/gtest.h>

#include <vector>

#include "base/digest.hpp"

namespace hrm {

// Reference values of splitmix64: the published generator seeded with 0 gives these as its first outputs.
TEST(Digest, SplitmixMatchesThePublishedSequence) {
  EXPECT_EQ(splitmix64(0), 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(splitmix64(0x9E3779B97F4A7C15ULL), 0x6E789E6AA1B965F4ULL);
}

TEST(Digest, PartsAddUp) {
  const std::vector<float> values = {1.0F, -2.0F, 0.0F, 3.5F, 8.0F};
  const std::span<const float> all(values);
  EXPECT_EQ(digest(all), digest(all.first(2)) + digest(all.subspan(2), 2));
}

TEST(Digest, ChangesWithPositionAndValue) {
  const std::vector<std::uint16_t> a = {1, 2};
  const std::vector<std::uint16_t> b = {2, 1};
  EXPECT_NE(digest(std::span<const std::uint16_t>(a)), digest(std::span<const std::uint16_t>(b)));
}

TEST(Digest, LastFileWordIsPaddedWithZeros) {
  const unsigned char bytes[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const unsigned char padded[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(digest_file_words(bytes, 9, 5), digest_file_words(padded, 16, 5));
}

}  // namespace hrm
