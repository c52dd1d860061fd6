#include "kernels/rope.hpp"

#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

constexpr double theta = 10000.0;

template <class T>
class Rope : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Rope, Types);

TYPED_TEST(Rope, RotatesByThePositionsAngle) {
  const std::vector<std::int32_t> positions = {0, 1, 2, 0, 1, 4095, 0};
  on_each_target([&] {
    for (const std::int64_t head_dim : {2, 6, 16, 20, 32, 64, 70, 128, 528}) {
      const std::int64_t gap = head_dim % 16 == 0 ? 8 : 3;
      const std::int64_t cols = 3 * head_dim;
      const kernels::RopeTable table(4096, head_dim, theta, test_device());
      const Values x = rounded<TypeParam>(normals(7 * cols, 1));
      Stored<TypeParam> there(x, cols, gap);
      Stored<TypeParam> back(x, cols, gap);

      kernels::rope_forward<TypeParam>(test_stream(), table, positions, there);
      kernels::rope_backward<TypeParam>(test_stream(), table, positions, back);

      const auto d = static_cast<std::size_t>(head_dim);
      EXPECT_LT(error(reference::rope(x, positions, d, theta, 1), there.values()), tolerance<TypeParam>(4));
      EXPECT_LT(error(reference::rope(x, positions, d, theta, -1), back.values()), tolerance<TypeParam>(4));
      EXPECT_TRUE(there.gaps_untouched());
    }
  });
}

// q and k are neighbours in memory: more heads than a GPU block rotates at once.
TYPED_TEST(Rope, OneCallForQAndKEqualsTwo) {
  const std::vector<std::int32_t> positions = {0, 5, 9, 63};
  const kernels::RopeTable table(64, 128, theta, test_device());
  const std::int64_t width = 20 * 128;
  Stored<TypeParam> together(normals(4 * 2 * width, 5), 2 * width, 8);
  Stored<TypeParam> apart(normals(4 * 2 * width, 5), 2 * width, 8);
  const Matrix<TypeParam> halves = apart;

  kernels::rope_forward<TypeParam>(test_stream(), table, positions, together);
  kernels::rope_forward<TypeParam>(test_stream(), table, positions, halves.columns(0, width));
  kernels::rope_forward<TypeParam>(test_stream(), table, positions, halves.columns(width, width));

  EXPECT_EQ(apart.bytes(), together.bytes());
}

TYPED_TEST(Rope, IsTheSameOnAnyNumberOfThreads) {
  const kernels::RopeTable table(512, 20, theta, test_device());
  std::vector<std::int32_t> positions(512);
  for (std::size_t i = 0; i < positions.size(); ++i) {
    positions[i] = static_cast<std::int32_t>(i);
  }
  const auto run = [&] {
    Stored<TypeParam> x(normals(512 * 60, 2), 60);
    kernels::rope_forward<TypeParam>(test_stream(), table, positions, x);
    return x.bytes();
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

TEST(RopeReference, RotationByMinusTheAngleIsTheGradient) {
  const std::vector<std::int32_t> positions = {0, 1, 9};
  const Values x = normals(3 * 12, 3);
  const Values upstream = normals(3 * 12, 4);
  const auto loss = [&](const Values& at) { return dot(upstream, reference::rope(at, positions, 6, 100.0, 1)); };

  EXPECT_LT(finite_difference_error(loss, x, reference::rope(upstream, positions, 6, 100.0, -1)), 1e-8);
}

}  // namespace
}  // namespace hrm::test
