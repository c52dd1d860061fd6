#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "base/digest.hpp"
#include "base/random.hpp"

namespace hrm {
namespace {

/// The definition, element by element.
std::uint64_t plain_digest(const unsigned char* data, std::size_t count, std::size_t size, std::uint64_t first) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, data + i * size, size);
    volatile std::uint64_t place = splitmix64(first + i);  // not by vectors
    sum += splitmix64(word ^ place);
  }
  return sum;
}

std::vector<unsigned char> made_bytes(std::size_t count) {
  std::vector<unsigned char> bytes(count);
  const RandomStream numbers(5, RandomPurpose::demo, 0);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<unsigned char>(numbers.below(i, 256));
  }
  return bytes;
}

}  // namespace

// Reference values of splitmix64: the published generator seeded with 0 gives these as its first outputs.
TEST(Digest, SplitmixMatchesThePublishedSequence) {
  EXPECT_EQ(splitmix64(0), 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(splitmix64(0x9E3779B97F4A7C15ULL), 0x6E789E6AA1B965F4ULL);
}

TEST(Digest, IsThatOfItsDefinitionAtAnySizeAndAddress) {
  const std::vector<unsigned char> bytes = made_bytes(8 * 300);
  for (const std::size_t size : {1, 2, 4, 8}) {
    for (std::size_t count = 0; count < 140; ++count) {
      for (const std::size_t skipped : {0, 1, 4, 8, 63}) {
        const std::uint64_t first = count % 3 == 0 ? ~std::uint64_t{50} : 1000 * count;  // over the largest index, too
        ASSERT_EQ(digest_elements(bytes.data() + skipped, count, size, first),
                  plain_digest(bytes.data() + skipped, count, size, first))
            << size << " bytes, " << count << " elements, " << skipped;
      }
    }
  }
}

TEST(Digest, IsThatOfItsDefinitionForMuchData) {
  const std::vector<unsigned char> bytes = made_bytes(100003);
  for (const std::size_t size : {1, 2, 4, 8}) {
    EXPECT_EQ(digest_elements(bytes.data(), bytes.size() / size, size, 7),
              plain_digest(bytes.data(), bytes.size() / size, size, 7));
  }
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
