// Kernels without a fault give the right numbers in every order of execution.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "simt/control.hpp"
#include "simt/sample_kernels.hpp"

namespace hrm::test {
namespace {

constexpr Stream gpu{DeviceType::cuda, nullptr};

/// Every test runs in order and in random orders, with late and with eager copies.
class SampleKernels : public testing::TestWithParam<std::tuple<std::uint64_t, simt::AsyncCopies>> {
 protected:
  SampleKernels() {
    simt::settings().seed = std::get<0>(GetParam());
    simt::settings().copies = std::get<1>(GetParam());
  }
  ~SampleKernels() override { simt::settings() = kept_; }

 private:
  simt::Settings kept_ = simt::settings();
};

std::vector<float> waves(std::size_t count) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = std::sin(static_cast<float>(3 * i + 1));
  }
  return x;
}

TEST_P(SampleKernels, EveryThreadOfEveryBlockRunsOnce) {
  const unsigned grid[3] = {3, 2, 2};
  const unsigned block[3] = {5, 4, 3};
  std::vector<std::int32_t> out(12 * 60, -1);

  number_threads(gpu, grid, block, out.data());

  for (std::size_t i = 0; i < out.size(); ++i) {
    ASSERT_EQ(out[i], static_cast<std::int32_t>(i / 60 * 10000 + i % 60));
  }
}

TEST_P(SampleKernels, WarpsAddUpThroughSharedMemory) {
  const std::vector<float> x = waves(7 * 256);
  std::vector<float> sums(7);

  sum_rows(gpu, x.data(), 7, sums.data());

  for (std::size_t row = 0; row < 7; ++row) {
    const auto first = x.begin() + static_cast<std::ptrdiff_t>(row * 256);
    EXPECT_NEAR(sums[row], std::accumulate(first, first + 256, 0.0), 256 * std::ldexp(1.0, -24));
  }
}

TEST_P(SampleKernels, ShufflesReadTheLaneThatTheyName) {
  const std::vector<float> x = waves(32);
  std::vector<float> out(9 * 32);

  shuffle_lanes(gpu, x.data(), out.data());

  for (std::size_t lane = 0; lane < 32; ++lane) {
    const auto got = [&](std::size_t row) { return out[row * 32 + lane]; };
    EXPECT_EQ(got(0), x[5]);
    EXPECT_EQ(got(1), x[31 - lane]);
    EXPECT_EQ(got(2), x[lane / 8 * 8 + 1]);
    EXPECT_EQ(got(3), x[lane < 3 ? lane : lane - 3]);
    EXPECT_EQ(got(4), x[lane % 16 + 3 < 16 ? lane + 3 : lane]);
    EXPECT_EQ(got(5), x[lane ^ 1]);
    EXPECT_EQ(got(6), x[lane < 16 ? lane ^ 8 : lane < 31 ? lane + 1 : lane]);
    EXPECT_EQ(got(7), x[lane ^ 2]);
    EXPECT_EQ(got(8), *std::max_element(x.begin(), x.end()));
  }
}

TEST_P(SampleKernels, VotesCountTheLanesAndTheThreads) {
  std::vector<float> x(96, -1.0F);
  x[3] = x[31] = x[40] = 1.0F;
  std::vector<unsigned> votes(4);

  vote(gpu, x.data(), votes.data());

  EXPECT_EQ(votes, (std::vector<unsigned>{1U << 3 | 1U << 31, 1, 0, 3}));
}

TEST_P(SampleKernels, TensorCoreMultipliesTiles) {
  std::vector<bf16> a(256);
  std::vector<bf16> b(128);
  std::vector<float> d(128, -1.0F);
  for (std::size_t i = 0; i < a.size(); ++i) {
    a[i] = to_bf16(std::sin(static_cast<float>(i)));
  }
  for (std::size_t i = 0; i < b.size(); ++i) {
    b[i] = to_bf16(std::cos(static_cast<float>(2 * i)));
  }

  multiply_tile(gpu, a.data(), b.data(), 8, d.data());

  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = 0;
      for (std::size_t k = 0; k < 16; ++k) {
        sum += double{to_float(a[row * 16 + k])} * double{to_float(b[k * 8 + column])};
      }
      EXPECT_NEAR(d[row * 8 + column], sum, 16 * 16 * std::ldexp(1.0, -24));
    }
  }
}

TEST_P(SampleKernels, CopiesThatAreNotValidGiveZeros) {
  std::vector<bf16> a(256, to_bf16(1.0F));
  std::vector<float> d(128, -1.0F);

  multiply_tile(gpu, a.data(), nullptr, 0, d.data());

  EXPECT_EQ(d, std::vector<float>(128, 0.0F));
}

TEST_P(SampleKernels, CopiesRunAheadOfTheirUse) {
  const std::vector<float> x = waves(6 * 128);
  std::vector<float> y(x.size());

  reverse_pieces(gpu, x.data(), 6, y.data());

  for (std::size_t i = 0; i < x.size(); ++i) {
    ASSERT_EQ(y[i], x[i / 128 * 128 + 127 - i % 128]);
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, SampleKernels,
                         testing::Combine(testing::Values(0, 1, 5),
                                          testing::Values(simt::AsyncCopies::late, simt::AsyncCopies::eager)));

}  // namespace
}  // namespace hrm::test
