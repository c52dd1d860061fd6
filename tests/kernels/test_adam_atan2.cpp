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

/// The update of one tensor that fills its share.
void update(const kernels::AdamAtan2Step& step, std::span<float> w, std::span<const float> g, std::span<float> m,
            std::span<float> v, std::span<float> e) {
  const std::vector<kernels::AdamAtan2Segment> all = {{step, 0, 0, std::ssize(w)}};
  kernels::adam_atan2_segments<float>(test_stream(), all, w, g, m, v, e, {}, nullptr);
}

TEST(AdamAtan2, FollowsTheReferenceOverSeveralUpdates) {
  on_each_target([] {
    const Values start = rounded<float>(normals(count, 1));
    State state(start);
    reference::AdamState expected{start, Values(count, 0.0), Values(count, 0.0), start};
    for (std::int64_t t = 1; t <= 6; ++t) {
      const Values g = wide_gradients(static_cast<std::uint64_t>(t));
      const double lr = t == 4 ? 0.0 : 0.01 * static_cast<double>(t);

      update(kernels::adam_atan2_step(lr, 0.1, 0.9, 0.95, 0.99, t), state.w, narrowed(g), state.m, state.v, state.e);
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

  update(kernels::adam_atan2_step(0.02, 0.0, 0.0, 0.99, 1.0, 3), state.w, narrowed(g), {}, state.v, {});
  reference::adam_atan2(expected, g, 0.02, 0.0, 0.0, 0.99, 1.0, 3);

  EXPECT_LT(error(expected.w, widened(state.w)), tolerance<float>(8));
  EXPECT_LT(error(expected.v, widened(state.v)), tolerance<float>(4));
}

TEST(AdamAtan2, ZeroGradientsOnlyDecay) {
  std::vector<float> w = {2.0F, -2.0F};
  std::vector<float> m(2);
  std::vector<float> v(2);

  update(kernels::adam_atan2_step(0.5, 0.5, 0.9, 0.95, 1.0, 1), w, std::vector<float>(2), m, v, {});

  EXPECT_EQ(w, (std::vector<float>{1.5F, -1.5F}));
}

TEST(AdamAtan2, StepIsFiniteForAnyFiniteGradient) {
  const std::vector<float> g = {1e-45F, -1e-38F, 1e-30F, 1e-20F, 1e19F, -3e38F};
  std::vector<float> w(g.size());
  std::vector<float> v(g.size());

  update(kernels::adam_atan2_step(1.0, 0.0, 0.0, 0.95, 1.0, 1), w, g, {}, v, {});

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

    update(step, whole.w, g, whole.m, whole.v, whole.e);
    for (std::size_t first = 0; first < g.size(); first += 59) {
      const std::size_t n = std::min<std::size_t>(59, g.size() - first);
      const auto part = [&](std::vector<float>& x) { return std::span(x).subspan(first, n); };
      update(step, part(cut.w), std::span(g).subspan(first, n), part(cut.m), part(cut.v), part(cut.e));
    }

    EXPECT_EQ(whole.w, cut.w);
    EXPECT_EQ(whole.e, cut.e);
  });
}

/// A share of three tensors with holes, one of them longer than a block's tile, whose gradients lie elsewhere in an
/// array with another alignment.
struct Shares {
  static constexpr std::int64_t size = 9000;
  static constexpr std::int64_t tile = 4096;
  std::vector<kernels::AdamAtan2Segment> segments = {
      {kernels::adam_atan2_step(0.01, 0.1, 0.9, 0.95, 0.99, 1), 3, 8, 58},
      {kernels::adam_atan2_step(0.01, 0.1, 0.9, 0.95, 0.99, 7), 61, 101, 1},
      {kernels::adam_atan2_step(0.02, 0.0, 0.9, 0.95, 0.99, 2), 64, 200, tile + 900},
      {kernels::adam_atan2_step(0.01, 0.1, 0.9, 0.95, 0.99, 3), 7000, 6001, 1999},
  };
  Values start = rounded<float>(normals(size, 6));
  Values gradient = rounded<float>(normals(size, 7));
};

template <class T>
class AdamAtan2Segments : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(AdamAtan2Segments, Types);

TYPED_TEST(AdamAtan2Segments, UpdateTheirElementsByTheReferenceAndNoOthers) {
  for (const bool momentum : {true, false}) {
    const Shares share;
    State state(share.start);
    std::vector<TypeParam> compute(Shares::size, from_float<TypeParam>(5.0F));
    reference::AdamState expected{share.start, Values(Shares::size, 0.0), Values(Shares::size, 0.0), share.start};
    Values expected_compute(Shares::size, 5.0);
    std::vector<kernels::AdamAtan2Segment> segments = share.segments;
    const double beta1 = momentum ? 0.9 : 0.0;
    const std::int64_t counts[] = {1, 7, 2, 3};
    for (std::size_t s = 0; s < segments.size(); ++s) {
      const double lr = s == 2 ? 0.02 : 0.01;
      const double decay = s == 2 ? 0.0 : 0.1;
      segments[s].step = kernels::adam_atan2_step(lr, decay, beta1, 0.95, 0.99, counts[s]);
      const auto first = share.start.begin() + segments[s].first;
      const auto g = share.gradient.begin() + segments[s].gradient_first;
      reference::AdamState part{
          Values(first, first + segments[s].count), Values(static_cast<std::size_t>(segments[s].count), 0.0),
          Values(static_cast<std::size_t>(segments[s].count), 0.0), Values(first, first + segments[s].count)};
      reference::adam_atan2(part, Values(g, g + segments[s].count), lr, decay, beta1, 0.95, 0.99, counts[s]);
      std::copy(part.w.begin(), part.w.end(), expected.w.begin() + segments[s].first);
      std::copy(part.m.begin(), part.m.end(), expected.m.begin() + segments[s].first);
      std::copy(part.v.begin(), part.v.end(), expected.v.begin() + segments[s].first);
      std::copy(part.e.begin(), part.e.end(), expected.e.begin() + segments[s].first);
      std::copy(part.w.begin(), part.w.end(), expected_compute.begin() + segments[s].first);
    }
    const std::vector<float> g = narrowed(share.gradient);
    const std::span<float> m = momentum ? std::span<float>(state.m) : std::span<float>();
    const std::span<float> e = momentum ? std::span<float>(state.e) : std::span<float>();

    kernels::adam_atan2_segments<TypeParam>(test_stream(), segments, state.w, g, m, state.v, e, compute, nullptr);

    EXPECT_LT(error(expected.w, widened(state.w)), tolerance<float>(8));
    EXPECT_LT(error(expected.v, widened(state.v)), tolerance<float>(4));
    if (momentum) {
      EXPECT_LT(error(expected.m, widened(state.m)), tolerance<float>(4));
      EXPECT_LT(error(expected.e, widened(state.e)), tolerance<float>(8));
    }
    std::vector<bool> covered(Shares::size, false);
    for (const kernels::AdamAtan2Segment& segment : segments) {
      std::fill_n(covered.begin() + segment.first, segment.count, true);
    }
    for (std::size_t i = 0; i < covered.size(); ++i) {
      const float rounded_weight = to_float(from_float<TypeParam>(state.w[i]));
      ASSERT_EQ(to_float(compute[i]), covered[i] ? rounded_weight : 5.0F) << i;
      ASSERT_TRUE(covered[i] || state.w[i] == static_cast<float>(share.start[i])) << i;
    }
  }
}

TYPED_TEST(AdamAtan2Segments, DoNothingWhereTheUpdateIsRefused) {
  const Shares share;
  const std::vector<float> g = narrowed(share.gradient);
  for (const std::int32_t accepted : {0, 1}) {
    const std::vector<std::int32_t> accept = {accepted};
    State state(share.start);
    std::vector<TypeParam> compute(Shares::size, from_float<TypeParam>(5.0F));

    kernels::adam_atan2_segments<TypeParam>(test_stream(), share.segments, state.w, g, state.m, state.v, state.e,
                                            compute, accept.data());

    EXPECT_EQ(state.w == narrowed(share.start), accepted == 0);
    EXPECT_EQ(state.v == std::vector<float>(Shares::size), accepted == 0);
    EXPECT_EQ(to_float(compute[3]) == 5.0F, accepted == 0);
  }
}

TEST(AdamAtan2, IsTheSameOnAnyNumberOfThreads) {
  const Values start = normals(50000, 4);
  const std::vector<float> g = narrowed(normals(50000, 5));
  const auto run = [&] {
    State state(start);
    update(kernels::adam_atan2_step(0.01, 0.1, 0.9, 0.95, 0.99, 2), state.w, g, state.m, state.v, state.e);
    return std::pair(state.w, state.e);
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

}  // namespace
}  // namespace hrm::test
