#include "kernels/rmsnorm.hpp"

#include <tuple>

#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

constexpr float eps = 1e-6F;

/// Rows from 1e-5 to 1e3 in size, one of zeros.
Values rows_of_all_sizes(std::int64_t cols) {
  Values x = normals(6 * cols, 1);
  const double sizes[] = {1e-5, 1e-2, 1.0, 30.0, 1e3, 0.0};
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] *= sizes[i / static_cast<std::size_t>(cols)];
  }
  return x;
}

template <class T>
class RmsNorm : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(RmsNorm, Types);

TYPED_TEST(RmsNorm, ForwardEqualsReference) {
  on_each_target([] {
    for (const std::int64_t cols : {1, 7, 16, 33, 128, 515, 1024}) {
      for (const std::int64_t gap : row_gaps) {
        const Values x = rounded<TypeParam>(rows_of_all_sizes(cols));
        Stored<TypeParam> y(6, cols, gap);
        std::vector<float> rstd(6);

        kernels::rmsnorm_forward<TypeParam>(test_stream(), Stored<TypeParam>(x, cols, gap), eps, y, rstd);

        const Values expected = reference::rmsnorm(x, static_cast<std::size_t>(cols), static_cast<double>(eps));
        EXPECT_LT(error(expected, y.values()), tolerance<TypeParam>(8 + static_cast<double>(cols) / 16));
        EXPECT_TRUE(y.gaps_untouched());
      }
    }
  });
}

TYPED_TEST(RmsNorm, BackwardEqualsReferenceAndAccumulates) {
  on_each_target([] {
    for (const std::int64_t cols : {5, 7, 33, 256, 1032}) {
      const std::int64_t gap = cols % 8 == 0 ? 8 : 3;
      const Values x = rounded<TypeParam>(normals(5 * cols, 2));
      const Values upstream = rounded<TypeParam>(normals(5 * cols, 3));
      const Values old = rounded<TypeParam>(normals(5 * cols, 4));
      Stored<TypeParam> y(5, cols, gap);
      std::vector<float> rstd(5);
      kernels::rmsnorm_forward<TypeParam>(test_stream(), Stored<TypeParam>(x, cols, gap), eps, y, rstd);
      Stored<TypeParam> plain(5, cols, gap);
      Stored<TypeParam> summed(old, cols, gap);
      const Stored<TypeParam> dy(upstream, cols, gap);

      kernels::rmsnorm_backward<TypeParam>(test_stream(), y, rstd, dy, plain, false);
      kernels::rmsnorm_backward<TypeParam>(test_stream(), y, rstd, dy, summed, true);

      const auto n = static_cast<std::size_t>(cols);
      Values expected = reference::rmsnorm_gradient(x, upstream, n, static_cast<double>(eps));
      // A bf16 y enters as rounded: one more half unit, times |y| mean(dy y) / r, a few times the result.
      EXPECT_LT(error(expected, plain.values()), 4 * tolerance<TypeParam>(16));
      for (std::size_t i = 0; i < old.size(); ++i) {
        expected[i] += old[i];
      }
      EXPECT_LT(error(expected, summed.values()), 4 * tolerance<TypeParam>(16));
    }
  });
}

TYPED_TEST(RmsNorm, WorksInPlaceAndOnAnyNumberOfThreads) {
  const Values x = normals(300 * 77, 5);
  const auto run = [&] {
    Stored<TypeParam> y(x, 77);
    std::vector<float> rstd(300);
    kernels::rmsnorm_forward<TypeParam>(test_stream(), y, eps, y, rstd);
    Stored<TypeParam> dy(normals(300 * 77, 6), 77);
    kernels::rmsnorm_backward<TypeParam>(test_stream(), y, rstd, dy, dy, false);
    return dy.bytes();
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

/// Norm and gradient of two rows of `cols` in place: bytes of both.
template <class T>
auto norm_and_gradient(std::int64_t cols, std::int64_t gap) {
  Stored<T> y(normals(2 * cols, 5), cols, gap);
  std::vector<float> rstd(2);
  kernels::rmsnorm_forward<T>(test_stream(), y, eps, y, rstd);
  Stored<T> dy(normals(2 * cols, 6), cols, gap);
  kernels::rmsnorm_backward<T>(test_stream(), y, rstd, dy, dy, false);
  return std::tuple(y.values(), rstd, dy.values());
}

// 4104 columns take most packs per thread, 16392 more than one round, whether a pack has 4 elements or 8.
TYPED_TEST(RmsNorm, WideRowsEqualReferenceAndDoNotDependOnAlignment) {
  for (const std::int64_t cols : {520, 2056, 4104, 16392}) {
    const auto got = norm_and_gradient<TypeParam>(cols, 8);
    const Values x = rounded<TypeParam>(normals(2 * cols, 5));
    const Values dy = rounded<TypeParam>(normals(2 * cols, 6));

    const auto n = static_cast<std::size_t>(cols);
    const double steps = 8 + static_cast<double>(cols) / 16;
    EXPECT_LT(error(reference::rmsnorm(x, n, 1e-6), std::get<0>(got)), tolerance<TypeParam>(steps)) << cols;
    EXPECT_LT(error(reference::rmsnorm_gradient(x, dy, n, 1e-6), std::get<2>(got)), 4 * tolerance<TypeParam>(steps));
    EXPECT_EQ(norm_and_gradient<TypeParam>(cols, 3), got) << cols;
  }
}

TEST(RmsNormReference, GradientEqualsFiniteDifferences) {
  const Values x = normals(3 * 5, 7);
  const Values upstream = normals(3 * 5, 8);
  const auto loss = [&](const Values& at) { return dot(upstream, reference::rmsnorm(at, 5, 1e-6)); };

  EXPECT_LT(finite_difference_error(loss, x, reference::rmsnorm_gradient(x, upstream, 5, 1e-6)), 1e-8);
}

}  // namespace
}  // namespace hrm::test
