#include "bench/gemm.hpp"

#include <gtest/gtest.h>

namespace hrm::bench {
namespace {

void expect_plausible(const Rate& rate, double amount) {
  EXPECT_GE(rate.repetitions, 3);
  EXPECT_DOUBLE_EQ(rate.amount, amount);
  EXPECT_GT(rate.per_second, 0);
  EXPECT_GE(rate.best_per_second, rate.per_second);
}

TEST(Gemm, CountsTheOperationsOfAProduct) {
  for (const GemmKind kind : {GemmKind::forward, GemmKind::backward_input, GemmKind::backward_weight}) {
    expect_plausible(measure_gemm(Precision::fp32, kind, 64, 48, 32, 1e-6), 2.0 * 64 * 48 * 32);
    expect_plausible(measure_gemm(Precision::bf16, kind, 64, 48, 32, 1e-6), 2.0 * 64 * 48 * 32);
  }
}

TEST(Copy, CountsWhatIsReadAndWritten) {
  expect_plausible(measure_copy(std::int64_t{1} << 20, 1e-6), 2.0 * (1 << 20));
}

}  // namespace
}  // namespace hrm::bench
