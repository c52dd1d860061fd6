#include "kernels/adam_atan2.hpp"

#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

constexpr std::int64_t count = 1003;

/// Gradients from 1e-12 to 10 with exact zeros.
Values wide_gradients(std::uint64_t seed) {
  Values g = normals(count, seed);
  const Values exponents = normals(count, seed + 100, 3.0);
  for (std::size_t i = 0; i < g.size(); ++i) {
    g[i] = i % 7 == 3 ? 0.0 : g[i] * std::pow(10.0, std::clamp(exponents[i] - 4.0, -12.0, 1.0));
  }
  return rounded<float>(g);
}

struct State {
  explicit State(const Values& weights)
      : w(narrowed(weights)), m(weights.size()), v(weights.size()), e(narrowed(weights)) {}
  std::vector<float> w;
  std::vector<float> m;
  std::vector<float> v;
  std::vector<float> e;
};

TEST(AdamAtan2, FollowsTheReferenceOverSeveralUpdates) {
  on_each_target([] {
    const Values start = rounded<float>(normals(count, 1));
    State state(start);
    reference::AdamState expected{start, Values(count, 0.0), Values(count, 0.0), start};
    for (std::int64_t t = 1; t <= 6; ++t) {
      const Values g = wide_gradients(static_cast<std::uint64_t>(t));
      const double lr = t == 4 ? 0.0 : 0.01 * static_cast<double>(t);

      kernels::adam_atan2_update({}, kernels::adam_atan2_step(lr, 0.1, 0.9, 0.95, 0.99, t), state.w, narrowed(g),
                                 state.m, state.v, state.e);
      reference::adam_atan2(expected, g, lr, 0.1, 0.9, 0.95, 0.99, t);

      EXPECT_LT(error(expected.w, widened(state.w)), tolerance<float>(8.0 * static_cast<double>(t)));
      EXPECT_LT(error(expected.m, widened(state.m)), tolerance<float>(4.0 * static_cast<double>(t)));
      EXPECT_LT(error(expected.v, widened(state.v)), tolerance<float>(4.0 * static_cast<double>(t)));
      EXPECT_LT(error(expected.e, widened(state.e)), tolerance<float>(8.0 * static_cast<double>(t)));
    }
  });
}

TEST(AdamAtan2, WithoutMomentumAndAverageNeedsNeither) {
  const Values start = rounded<float>(normals(count, 2));
  State state(start);
  reference::AdamState expected{start, Values(count, 0.0), Values(count, 0.0), start};
  const Values g = wide_gradients(20);

  kernels::adam_atan2_update({}, kernels::adam_atan2_step(0.02, 0.0, 0.0, 0.99, 1.0, 3), state.w, narrowed(g), {},
                             state.v, {});
  reference::adam_atan2(expected, g, 0.02, 0.0, 0.0, 0.99, 1.0, 3);

  EXPECT_LT(error(expected.w, widened(state.w)), tolerance<float>(8));
  EXPECT_LT(error(expected.v, widened(state.v)), tolerance<float>(4));
}

TEST(AdamAtan2, ZeroGradientsOnlyDecay) {
  std::vector<float> w = {2.0F, -2.0F};
  std::vector<float> m(2);
  std::vector<float> v(2);

  kernels::adam_atan2_update({}, kernels::adam_atan2_step(0.5, 0.5, 0.9, 0.95, 1.0, 1), w, std::vector<float>(2), m, v,
                             {});

  EXPECT_EQ(w, (std::vector<float>{1.5F, -1.5F}));
}

TEST(AdamAtan2, StepIsFiniteForAnyFiniteGradient) {
  const std::vector<float> g = {1e-45F, -1e-38F, 1e-30F, 1e-20F, 1e19F, -3e38F};
  std::vector<float> w(g.size());
  std::vector<float> v(g.size());

  kernels::adam_atan2_update({}, kernels::adam_atan2_step(1.0, 0.0, 0.0, 0.95, 1.0, 1), w, g, {}, v, {});

  for (std::size_t i = 0; i < g.size(); ++i) {
    EXPECT_LE(std::abs(w[i]), 1.5708F) << i;
  }
}

TEST(AdamAtan2, AnElementDoesNotDependOnItsPlace) {
  on_each_target([] {
    const Values start = normals(count, 3);
    const std::vector<float> g = narrowed(wide_gradients(30));
    const kernels::AdamAtan2Step step = kernels::adam_atan2_step(0.01, 0.1, 0.9, 0.95, 0.99, 2);
    State whole(start);
    State cut(start);

    kernels::adam_atan2_update({}, step, whole.w, g, whole.m, whole.v, whole.e);
    for (std::size_t first = 0; first < g.size(); first += 59) {
      const std::size_t n = std::min<std::size_t>(59, g.size() - first);
      const auto part = [&](std::vector<float>& x) { return std::span(x).subspan(first, n); };
      kernels::adam_atan2_update({}, step, part(cut.w), std::span(g).subspan(first, n), part(cut.m), part(cut.v),
                                 part(cut.e));
    }

    EXPECT_EQ(whole.w, cut.w);
    EXPECT_EQ(whole.e, cut.e);
  });
}

TEST(AdamAtan2, IsTheSameOnAnyNumberOfThreads) {
  const Values start = normals(50000, 4);
  const std::vector<float> g = narrowed(normals(50000, 5));
  const auto run = [&] {
    State state(start);
    kernels::adam_atan2_update({}, kernels::adam_atan2_step(0.01, 0.1, 0.9, 0.95, 0.99, 2), state.w, g, state.m,
                               state.v, state.e);
    return std::pair(state.w, state.e);
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

}  // namespace
}  // namespace hrm::test
