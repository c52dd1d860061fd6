#include <gtest/gtest.h>

#include <cmath>

#include "validate/lead.hpp"
#include "validate/report.hpp"

namespace hrm::validate {
namespace {

bool passes(std::vector<double> computed, std::vector<double> expected, double limit, double tolerance = 0) {
  const auto alone = comm::serial_communicator();
  Report report(*alone, Precision::fp32, tolerance);
  report.reals("x", computed, expected, limit);
  return report.passed();
}

TEST(Report, ErrorIsRelativeToTheLargestElement) {
  EXPECT_TRUE(passes({100, 0.0009}, {100, 0}, 1e-5));
  EXPECT_FALSE(passes({100, 0.0011}, {100, 0}, 1e-5));
}

TEST(Report, ZeroIsComparedAbsolutely) {
  EXPECT_TRUE(passes({0.9e-5}, {0}, 1e-5));
  EXPECT_FALSE(passes({1.1e-5}, {0}, 1e-5));
}

TEST(Report, NanAndInfinityFail) {
  EXPECT_FALSE(passes({NAN}, {1}, 1e9));
  EXPECT_FALSE(passes({1}, {NAN}, 1e9));
  EXPECT_FALSE(passes({INFINITY}, {INFINITY}, 1e9));
  EXPECT_FALSE(passes({NAN, 1}, {1, 1}, 1e9));
}

TEST(Report, ToleranceReplacesTheLimit) {
  EXPECT_TRUE(passes({1.1}, {1}, 1e-5, 0.2));
  EXPECT_FALSE(passes({1.1}, {1}, 1, 0.05));
}

TEST(Report, CountsMustBeEqual) {
  const auto alone = comm::serial_communicator();
  Report report(*alone, Precision::bf16, 10);
  report.count("n", 3, 3);
  EXPECT_TRUE(report.passed());

  report.count("n", 3, 4);
  EXPECT_FALSE(report.passed());
}

TEST(Report, ListsOfDifferentLengthFail) {
  const auto alone = comm::serial_communicator();
  Report report(*alone, Precision::fp32, 0);
  const std::vector<std::int64_t> shorter{1};
  const std::vector<std::int64_t> longer{1, 2};

  report.counts("list", shorter, longer);

  EXPECT_FALSE(report.passed());
}

TEST(Lead, FindsFirstMaximumAndMargin) {
  const std::vector<float> row{1, 5, 3, 5};
  EXPECT_EQ(lead(std::span(row)).best, 1);
  EXPECT_EQ(lead(std::span(row)).margin, 0);

  const std::vector<float> falling{4, 1, 2};
  EXPECT_EQ(lead(std::span(falling)).best, 0);
  EXPECT_EQ(lead(std::span(falling)).margin, 2);
}

}  // namespace
}  // namespace hrm::validate
