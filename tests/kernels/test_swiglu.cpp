#include "kernels/swiglu.hpp"

#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

template <class T>
class Swiglu : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Swiglu, Types);

TYPED_TEST(Swiglu, EqualsReferenceInPlace) {
  on_each_target([] {
    for (const std::int64_t f : {1, 11, 64, 173, 2104}) {
      const std::int64_t gap = f % 8 == 0 ? 8 : 3;
      const auto size = static_cast<std::size_t>(f);
      const Values x = rounded<TypeParam>(normals(5 * 2 * f, 1, 3.0));
      const Values dh = rounded<TypeParam>(normals(5 * f, 2));
      Stored<TypeParam> forward(5, f, gap);
      Stored<TypeParam> dx(x, 2 * f, gap);
      Stored<TypeParam> h(dh, f, gap);

      kernels::swiglu_forward<TypeParam>(test_stream(), dx, forward);
      kernels::swiglu_backward<TypeParam>(test_stream(), dx, h, dx, h);

      EXPECT_LT(error(reference::swiglu(x, size), forward.values()), tolerance<TypeParam>(8));
      EXPECT_LT(error(reference::swiglu_gradient(x, dh, size), dx.values()), tolerance<TypeParam>(8));
      EXPECT_EQ(forward.bytes(), h.bytes());
      EXPECT_TRUE(dx.gaps_untouched());
    }
  });
}

TYPED_TEST(Swiglu, IsTheSameOnAnyNumberOfThreads) {
  const auto run = [] {
    Stored<TypeParam> h(300, 70);
    kernels::swiglu_forward<TypeParam>(test_stream(), Stored<TypeParam>(normals(300 * 140, 3), 140), h);
    return h.bytes();
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

TEST(SwigluReference, GradientEqualsFiniteDifferences) {
  const Values x = normals(2 * 10, 4);
  const Values dh = normals(2 * 5, 5);
  const auto loss = [&](const Values& at) { return dot(dh, reference::swiglu(at, 5)); };

  EXPECT_LT(finite_difference_error(loss, x, reference::swiglu_gradient(x, dh, 5)), 1e-8);
}

}  // namespace
}  // namespace hrm::test
