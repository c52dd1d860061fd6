#include "kernels/argmax.hpp"

#include "tests/kernels/kernel_test.hpp"

namespace hrm::test {
namespace {

std::vector<std::int32_t> argmax(const Values& logits, std::int64_t cols, std::int64_t gap = 3) {
  std::vector<std::int32_t> tokens(logits.size() / static_cast<std::size_t>(cols), -7);
  kernels::argmax_rows(test_stream(), Stored<float>(logits, cols, gap), tokens);
  return tokens;
}

TEST(Argmax, IsTheFirstMaximumOfEveryRow) {
  for (const std::int64_t cols : {1, 7, 32, 1003, 4200}) {
    for (const std::int64_t gap : row_gaps) {
      Values logits = normals(5 * cols, 1);
      for (std::size_t i = 0; i < logits.size(); ++i) {
        logits[i] = std::round(2 * logits[i]) - 40.0;  // many equal maxima, all below zero
      }
      std::vector<std::int32_t> expected;
      for (auto row = logits.begin(); row != logits.end(); row += cols) {
        expected.push_back(static_cast<std::int32_t>(std::max_element(row, row + cols) - row));
      }

      EXPECT_EQ(argmax(logits, cols, gap), expected) << cols;
    }
  }
}

TEST(Argmax, PassesOverNotANumber) {
  const double nan = std::nan("");

  EXPECT_EQ(argmax({nan, -3, nan, 2, 2, nan, nan, nan, nan}, 3), (std::vector<std::int32_t>{1, 0, 0}));
}

}  // namespace
}  // namespace hrm::test
