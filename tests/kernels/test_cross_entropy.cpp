#include "kernels/cross_entropy.hpp"

#include <numeric>

#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

template <class T>
class CrossEntropy : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(CrossEntropy, Types);

TYPED_TEST(CrossEntropy, EqualsReference) {
  on_each_target([] {
    for (const std::int64_t cols : {1, 5, 16, 96, 1003}) {
      const auto last = static_cast<std::int32_t>(cols - 1);
      const std::vector<std::int32_t> labels = {0, last, -1, last / 2, -1, last / 3};
      Values logits = rounded<float>(normals(6 * cols, 1, 3.0));
      for (double& value : logits) {
        value -= 20.0;  // a padded tail of zeros would win the maximum
      }
      logits = rounded<float>(logits);
      Stored<TypeParam> dlogits(6, cols);
      std::vector<float> loss(6);
      std::vector<std::int32_t> argmax(6);

      kernels::cross_entropy<TypeParam>({}, Stored<float>(logits, cols), labels, 0.125F, dlogits, loss, argmax);

      const reference::CrossEntropy expected = reference::cross_entropy(logits, labels, 0.125);
      EXPECT_LT(error(expected.loss, widened(loss)), tolerance<float>(4));
      EXPECT_LT(error(expected.dlogits, dlogits.values()), tolerance<TypeParam>(8));
      EXPECT_EQ(expected.argmax, argmax);
      EXPECT_TRUE(dlogits.gaps_untouched());
    }
  });
}

TEST(CrossEntropyTies, ArgmaxIsTheFirstMaximum) {
  Values logits(2 * 50, -1.0);
  logits[17] = logits[18] = logits[49] = 4.0;
  Stored<float> dlogits(2, 50);
  std::vector<float> loss(2);
  std::vector<std::int32_t> argmax(2);

  kernels::cross_entropy<float>({}, Stored<float>(logits, 50), std::vector<std::int32_t>{3, 3}, 1.0F, dlogits, loss,
                                argmax);

  EXPECT_EQ(argmax, (std::vector<std::int32_t>{17, 0}));
}

TEST(CrossEntropyRange, NearCertainLabelKeepsASmallLoss) {
  const Values logits = {80.0, 67.0, -90.0};  // loss e^-13
  Stored<float> dlogits(1, 3);
  std::vector<float> loss(1);
  std::vector<std::int32_t> argmax(1);

  kernels::cross_entropy<float>({}, Stored<float>(logits, 3), std::vector<std::int32_t>{0}, 1.0F, dlogits, loss,
                                argmax);

  EXPECT_LT(error(reference::cross_entropy(logits, {0}, 1.0).loss, widened(loss)), 0.03);  // 1 + 2e-6 in float32
}

TEST(CrossEntropyRange, NotANumberReachesTheLoss) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{20}}) {
    Values logits = normals(21, 2);
    logits[at] = std::nan("");
    Stored<float> dlogits(1, 21);
    std::vector<float> loss(1);
    std::vector<std::int32_t> argmax(1);

    kernels::cross_entropy<float>({}, Stored<float>(logits, 21), std::vector<std::int32_t>{4}, 1.0F, dlogits, loss,
                                  argmax);

    EXPECT_TRUE(std::isnan(loss[0]));
    EXPECT_GE(argmax[0], 0);
    EXPECT_LT(argmax[0], 21);
  }
}

TYPED_TEST(CrossEntropy, IsTheSameOnAnyNumberOfThreads) {
  std::vector<std::int32_t> labels(200);
  std::iota(labels.begin(), labels.end(), -1);
  const Stored<float> logits(normals(200 * 300, 3), 300);
  const auto run = [&] {
    Stored<TypeParam> dlogits(200, 300);
    std::vector<float> loss(200);
    std::vector<std::int32_t> argmax(200);
    kernels::cross_entropy<TypeParam>({}, logits, labels, 0.5F, dlogits, loss, argmax);
    return std::pair(dlogits.bytes(), loss);
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

TEST(CrossEntropyReference, GradientEqualsFiniteDifferences) {
  const std::vector<std::int32_t> labels = {2, -1, 0};
  const Values logits = normals(3 * 4, 4);
  const auto loss = [&](const Values& at) {
    const Values rows = reference::cross_entropy(at, labels, 0.5).loss;
    return 0.5 * std::accumulate(rows.begin(), rows.end(), 0.0);
  };

  EXPECT_LT(finite_difference_error(loss, logits, reference::cross_entropy(logits, labels, 0.5).dlogits), 1e-8);
}

}  // namespace
}  // namespace hrm::test
