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
    for (const std::int64_t cols : {1, 5, 16, 96, 1003, 4200}) {
      const std::int64_t gap = cols % 8 == 0 ? 8 : 3;
      const auto last = static_cast<std::int32_t>(cols - 1);
      const std::vector<std::int32_t> labels = {0, last, -1, last / 2, -1, last / 3};
      Values logits = rounded<float>(normals(6 * cols, 1, 3.0));
      for (double& value : logits) {
        value -= 20.0;  // a padded tail of zeros would win the maximum
      }
      logits = rounded<float>(logits);
      Stored<TypeParam> dlogits(6, cols, gap);
      std::vector<float> loss(6);
      std::vector<std::int32_t> argmax(6);

      kernels::cross_entropy<TypeParam>(test_stream(), Stored<float>(logits, cols, gap), labels, 0.125F, dlogits, loss,
                                        argmax);

      const reference::CrossEntropy expected = reference::cross_entropy(logits, labels, 0.125);
      EXPECT_LT(error(expected.loss, widened(loss)), tolerance<float>(4));
      EXPECT_LT(error(expected.dlogits, dlogits.values()), tolerance<TypeParam>(8));
      EXPECT_EQ(expected.argmax, argmax);
      EXPECT_TRUE(dlogits.gaps_untouched());
    }
  });
}

/// Loss, prediction and gradient as ranks find them that hold `shard` columns each.
template <class T>
struct Sharded {
  std::vector<float> loss;
  std::vector<std::int32_t> argmax;
  Stored<T> dlogits;

  Sharded(const Values& logits, std::int64_t cols, std::int64_t shard, const std::vector<std::int32_t>& labels,
          float scale)
      : loss(labels.size()), argmax(labels.size()), dlogits(static_cast<std::int64_t>(labels.size()), cols) {
    const Stored<float> stored(logits, cols);
    const Matrix<const float> all = stored;
    const Matrix<T> gradient = dlogits;
    const auto rows = labels.size();
    std::vector<kernels::EntropyPart> parts(static_cast<std::size_t>(cols / shard) * rows);
    for (std::int64_t first = 0; first < cols; first += shard) {
      kernels::cross_entropy_parts(test_stream(), all.columns(first, shard), labels, static_cast<std::int32_t>(first),
                                   std::span(parts).subspan(static_cast<std::size_t>(first / shard) * rows, rows));
    }
    kernels::cross_entropy_join(test_stream(), parts, labels, loss, argmax);
    for (std::int64_t first = 0; first < cols; first += shard) {
      kernels::cross_entropy_gradient<T>(test_stream(), all.columns(first, shard), labels,
                                         static_cast<std::int32_t>(first), parts, scale,
                                         gradient.columns(first, shard));
    }
  }
};

TYPED_TEST(CrossEntropy, ShardsOfTheVocabularyEqualReference) {
  on_each_target([] {
    for (const std::int64_t shard : {1, 5, 24, 60}) {
      const std::int64_t cols = 120;
      const std::vector<std::int32_t> labels = {0, 119, -1, 60, 59, -1, 24};
      Values logits = normals(7 * cols, 5, 3.0);
      for (std::size_t i = 0; i < logits.size(); ++i) {
        logits[i] += i % 120 < 60 ? -30.0 : -20.0;  // maxima of shards far apart, and below a padded tail of zeros
      }
      logits = rounded<float>(logits);

      const Sharded<TypeParam> got(logits, cols, shard, labels, 0.125F);

      const reference::CrossEntropy expected = reference::cross_entropy(logits, labels, 0.125);
      EXPECT_LT(error(expected.loss, widened(got.loss)), tolerance<float>(4)) << shard;
      EXPECT_LT(error(expected.dlogits, got.dlogits.values()), tolerance<TypeParam>(8)) << shard;
      EXPECT_EQ(expected.argmax, got.argmax) << shard;
      EXPECT_TRUE(got.dlogits.gaps_untouched());
    }
  });
}

TYPED_TEST(CrossEntropy, OneShardHasTheBitsOfTheFusedKernel) {
  const std::vector<std::int32_t> labels = {3, -1, 49};
  const Values logits = rounded<float>(normals(3 * 50, 6, 2.0));
  Stored<TypeParam> dlogits(3, 50);
  std::vector<float> loss(3);
  std::vector<std::int32_t> argmax(3);
  kernels::cross_entropy<TypeParam>(test_stream(), Stored<float>(logits, 50), labels, 0.5F, dlogits, loss, argmax);

  const Sharded<TypeParam> got(logits, 50, 50, labels, 0.5F);

  EXPECT_EQ(got.loss, loss);
  EXPECT_EQ(got.argmax, argmax);
  EXPECT_EQ(got.dlogits.bytes(), dlogits.bytes());
}

TEST(CrossEntropyTies, ShardsAgreeOnTheFirstMaximum) {
  Values logits(2 * 50, -1.0);
  logits[17] = logits[18] = logits[49] = 4.0;
  logits[50 + 31] = 2.0;

  const Sharded<float> got(logits, 50, 10, {3, 3}, 1.0F);

  EXPECT_EQ(got.argmax, (std::vector<std::int32_t>{17, 31}));
}

TEST(CrossEntropyRange, NotANumberInOneShardReachesTheLoss) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{15}}) {
    Values logits = normals(20, 2);
    logits[at] = std::nan("");

    EXPECT_TRUE(std::isnan(Sharded<float>(logits, 20, 5, {4}, 1.0F).loss[0])) << at;
  }
}

TEST(CrossEntropyTies, ArgmaxIsTheFirstMaximum) {
  Values logits(2 * 50, -1.0);
  logits[17] = logits[18] = logits[49] = 4.0;
  Stored<float> dlogits(2, 50);
  std::vector<float> loss(2);
  std::vector<std::int32_t> argmax(2);

  kernels::cross_entropy<float>(test_stream(), Stored<float>(logits, 50), std::vector<std::int32_t>{3, 3}, 1.0F,
                                dlogits, loss, argmax);

  EXPECT_EQ(argmax, (std::vector<std::int32_t>{17, 0}));
}

TEST(CrossEntropyRange, NearCertainLabelKeepsASmallLoss) {
  const Values logits = {80.0, 67.0, -90.0};  // loss e^-13
  Stored<float> dlogits(1, 3);
  std::vector<float> loss(1);
  std::vector<std::int32_t> argmax(1);

  kernels::cross_entropy<float>(test_stream(), Stored<float>(logits, 3), std::vector<std::int32_t>{0}, 1.0F, dlogits,
                                loss, argmax);

  EXPECT_LT(error(reference::cross_entropy(logits, {0}, 1.0).loss, widened(loss)), 0.03);  // 1 + 2e-6 in float32
}

TEST(CrossEntropyRange, NotANumberReachesTheLoss) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{20}}) {
    Values logits = normals(21, 2);
    logits[at] = std::nan("");
    Stored<float> dlogits(1, 21);
    std::vector<float> loss(1);
    std::vector<std::int32_t> argmax(1);

    kernels::cross_entropy<float>(test_stream(), Stored<float>(logits, 21), std::vector<std::int32_t>{4}, 1.0F, dlogits,
                                  loss, argmax);

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
    kernels::cross_entropy<TypeParam>(test_stream(), logits, labels, 0.5F, dlogits, loss, argmax);
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
