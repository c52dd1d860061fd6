#include "base/digest.hpp"

#include "kernels/digest.hpp"
#include "tests/kernels/kernel_test.hpp"

namespace hrm::test {
namespace {

template <class T>
std::uint64_t digest_on_device(std::span<const T> values, std::uint64_t first) {
  std::vector<std::uint64_t> scratch(kernels::digest_scratch);
  std::vector<std::uint64_t> sum = {1};
  kernels::digest_values<T>(test_stream(), values, first, scratch, sum.data());
  return sum[0];
}

template <class T>
class DeviceDigest : public testing::Test {};
using Types = testing::Types<float, bf16, std::uint64_t>;
TYPED_TEST_SUITE(DeviceDigest, Types);

// The largest has more elements than digest_scratch blocks take in one round.
TYPED_TEST(DeviceDigest, EqualsTheDigestOfBase) {
  std::vector<TypeParam> values(2200000);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t bits = splitmix64(i);
    std::memcpy(&values[i], &bits, sizeof(TypeParam));
  }
  const std::span<const TypeParam> all(values);
  for (const std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{5003}, all.size() - 1}) {
    for (const std::size_t skipped : {0, 1}) {
      const auto part = all.subspan(skipped, count);

      EXPECT_EQ(digest_on_device(part, 12345 + count), digest(part, 12345 + count)) << count << " from " << skipped;
    }
  }
}

TEST(DeviceDigestOfWords, EqualsThatOfAFile) {
  const std::vector<std::uint64_t> words = {1, 0, 0xffffffffffffffffULL, 77};

  EXPECT_EQ(digest_on_device<std::uint64_t>(words, 5), digest_file_words(words.data(), 32, 5));
}

}  // namespace
}  // namespace hrm::test
