#include "kernels/fused_rmsnorm.hpp"

#include "kernels/elementwise.hpp"
#include "kernels/rmsnorm.hpp"
#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

constexpr float eps = 1e-6F;
constexpr std::int64_t rows = 3;

template <class T>
class FusedRmsNorm : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(FusedRmsNorm, Types);

/// Calls check(cols, gap) for rows of one pack per thread, of two, of four, and of several rounds.
template <class Check>
void for_shapes(const Check& check) {
  for (const std::int64_t cols : {1, 37, 64, 1024, 4104, 16392}) {
    for (const std::int64_t gap : row_gaps) {
      check(cols, gap);
    }
  }
}

TYPED_TEST(FusedRmsNorm, InjectionEqualsAddThenNorm) {
  for_shapes([](std::int64_t cols, std::int64_t gap) {
    const Stored<TypeParam> a(normals(rows * cols, 1), cols, gap);
    const Stored<TypeParam> b(normals(rows * cols, 2), cols, gap);
    Stored<TypeParam> u(rows, cols, gap);
    Stored<TypeParam> y(rows, cols, gap);
    std::vector<float> rstd(rows);
    Stored<TypeParam> expected_u(rows, cols, gap);
    Stored<TypeParam> expected_y(rows, cols, gap);
    std::vector<float> expected_rstd(rows);

    kernels::add_rmsnorm_forward<TypeParam>(test_stream(), a, b, eps, u, y, rstd);
    kernels::add<TypeParam>(test_stream(), a, b, expected_u);
    kernels::rmsnorm_forward<TypeParam>(test_stream(), expected_u, eps, expected_y, expected_rstd);

    EXPECT_EQ(expected_u.bytes(), u.bytes()) << cols;
    EXPECT_EQ(expected_y.bytes(), y.bytes()) << cols;
    EXPECT_EQ(expected_rstd, rstd) << cols;
  });
}

TYPED_TEST(FusedRmsNorm, InjectionEqualsReferenceInPlace) {
  for_shapes([](std::int64_t cols, std::int64_t gap) {
    const Values a = rounded<TypeParam>(normals(rows * cols, 1));
    const Values row = rounded<TypeParam>(normals(cols, 2));
    std::vector<TypeParam> stored(row.size());
    Values sum(a.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      sum[i] = a[i] + row[i % row.size()];
      stored[i % row.size()] = from_float<TypeParam>(static_cast<float>(row[i % row.size()]));
    }
    sum = rounded<TypeParam>(rounded<float>(sum));
    Stored<TypeParam> u(a, cols, gap);
    Stored<TypeParam> y(rows, cols, gap);
    std::vector<float> rstd(rows);

    kernels::add_row_rmsnorm_forward<TypeParam>(test_stream(), u, stored, eps, u, y, rstd);

    const auto n = static_cast<std::size_t>(cols);
    EXPECT_EQ(sum, u.values()) << cols;
    EXPECT_LT(error(reference::rmsnorm(sum, n, static_cast<double>(eps)), y.values()),
              tolerance<TypeParam>(8 + static_cast<double>(cols) / 16))
        << cols;
    EXPECT_TRUE(u.gaps_untouched() && y.gaps_untouched());
  });
}

/// A gradient's operands and everything it is merged into.
template <class T>
struct Merge {
  Stored<T> y;
  Stored<T> dx;  // dy as well
  std::vector<float> rstd = std::vector<float>(rows);
  std::vector<Stored<T>> sums;
  std::vector<Stored<T>> copies;

  Merge(std::int64_t cols, std::int64_t gap, std::size_t sum_count, std::size_t copy_count)
      : y(normals(rows * cols, 1), cols, gap), dx(normals(rows * cols, 2), cols, gap) {
    kernels::rmsnorm_forward<T>(test_stream(), y, eps, y, rstd);
    for (std::uint64_t i = 0; i < sum_count; ++i) {
      sums.emplace_back(normals(rows * cols, 3 + i), cols, gap);
    }
    for (std::size_t i = 0; i < copy_count; ++i) {
      copies.emplace_back(rows, cols, gap);
    }
  }
  std::vector<std::vector<unsigned char>> bytes() const {
    std::vector<std::vector<unsigned char>> all{dx.bytes()};
    for (const auto* list : {&sums, &copies}) {
      for (const Stored<T>& matrix : *list) {
        all.push_back(matrix.bytes());
      }
    }
    return all;
  }
};

TYPED_TEST(FusedRmsNorm, MergedGradientEqualsGradientThenSumsAndCopies) {
  using Matrices = std::vector<Matrix<TypeParam>>;
  for_shapes([](std::int64_t cols, std::int64_t gap) {
    for (const auto& [sum_count, copy_count] : {std::pair{0U, 0U}, {1U, 0U}, {0U, 1U}, {2U, 1U}, {3U, 3U}}) {
      for (const bool accumulate : {false, true}) {
        Merge<TypeParam> fused(cols, gap, sum_count, copy_count);
        Merge<TypeParam> apart(cols, gap, sum_count, copy_count);
        const Matrices sums(fused.sums.begin(), fused.sums.end());
        const Matrices copies(fused.copies.begin(), fused.copies.end());

        kernels::rmsnorm_backward_merge<TypeParam>(test_stream(), fused.y, fused.rstd, fused.dx, fused.dx, accumulate,
                                                   sums, copies);

        kernels::rmsnorm_backward<TypeParam>(test_stream(), apart.y, apart.rstd, apart.dx, apart.dx, accumulate);
        for (Stored<TypeParam>& sum : apart.sums) {
          kernels::add<TypeParam>(test_stream(), sum, apart.dx, sum);
        }
        for (Stored<TypeParam>& copy : apart.copies) {
          kernels::copy<TypeParam>(test_stream(), apart.dx, copy);
        }
        EXPECT_EQ(apart.bytes(), fused.bytes()) << cols << " columns, " << sum_count << " sums";
      }
    }
  });
}

}  // namespace
}  // namespace hrm::test
