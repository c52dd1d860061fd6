#include "kernels/head_gate.hpp"

#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

template <class T>
class HeadGate : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(HeadGate, Types);

TYPED_TEST(HeadGate, EqualsReference) {
  on_each_target([] {
    for (const std::int64_t cols : {1, 15, 48, 131, 2104}) {
      const std::int64_t gap = cols % 8 == 0 ? 8 : 3;
      const Values gate = rounded<TypeParam>(normals(4 * cols, 1, 4.0));
      const Values a = rounded<TypeParam>(normals(4 * cols, 2));
      const Values dy = rounded<TypeParam>(normals(4 * cols, 3));
      const Stored<TypeParam> gates(gate, cols, gap);
      const Stored<TypeParam> inputs(a, cols, gap);
      Stored<TypeParam> y(4, cols, gap);
      Stored<TypeParam> again(4, cols, gap);
      Stored<TypeParam> dgate(4, cols, gap);
      Stored<TypeParam> da(dy, cols, gap);

      kernels::head_gate_forward<TypeParam>(test_stream(), gates, inputs, y);
      kernels::head_gate_backward<TypeParam>(test_stream(), gates, inputs, da, dgate, da, again);

      const reference::HeadGateGradient expected = reference::head_gate_gradient(gate, a, dy);
      EXPECT_LT(error(reference::head_gate(gate, a), y.values()), tolerance<TypeParam>(8));
      EXPECT_LT(error(expected.dgate, dgate.values()), tolerance<TypeParam>(8));
      EXPECT_LT(error(expected.da, da.values()), tolerance<TypeParam>(8));
      EXPECT_EQ(y.bytes(), again.bytes());
    }
  });
}

TEST(HeadGateRange, ExtremeGatesAreFinite) {
  const Values gate = {-1e30, -200, -90, 90, 200, 1e30};
  Stored<float> y(1, 6);

  kernels::head_gate_forward<float>(test_stream(), Stored<float>(gate, 6), Stored<float>(Values(6, 2.0), 6), y);

  EXPECT_LT(error({0, 0, 0, 2, 2, 2}, y.values()), 1e-7);
}

TYPED_TEST(HeadGate, IsTheSameOnAnyNumberOfThreads) {
  const auto run = [] {
    Stored<TypeParam> y(333, 65);
    kernels::head_gate_forward<TypeParam>(test_stream(), Stored<TypeParam>(normals(333 * 65, 4), 65),
                                          Stored<TypeParam>(normals(333 * 65, 5), 65), y);
    return y.bytes();
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

TEST(HeadGateReference, GradientEqualsFiniteDifferences) {
  const Values gate = normals(12, 6);
  const Values a = normals(12, 7);
  const Values dy = normals(12, 8);
  const reference::HeadGateGradient expected = reference::head_gate_gradient(gate, a, dy);

  const auto of_gate = [&](const Values& at) { return dot(dy, reference::head_gate(at, a)); };
  const auto of_a = [&](const Values& at) { return dot(dy, reference::head_gate(gate, at)); };

  EXPECT_LT(finite_difference_error(of_gate, gate, expected.dgate), 1e-8);
  EXPECT_LT(finite_difference_error(of_a, a, expected.da), 1e-8);
}

}  // namespace
}  // namespace hrm::test
