#include "kernels/embedding.hpp"

#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {
namespace {

constexpr std::int64_t vocabulary = 23;
constexpr float scale = 6.25F;

std::vector<std::int32_t> some_ids(std::int64_t count) {
  const RandomStream stream(9, RandomPurpose::demo);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    ids[i] = static_cast<std::int32_t>(stream.below(i, vocabulary));
  }
  return ids;
}

template <class T>
class Embedding : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Embedding, Types);

TYPED_TEST(Embedding, ForwardScalesTheRows) {
  on_each_target([] {
    for (const std::int64_t cols : {1, 18, 64}) {
      const std::vector<std::int32_t> ids = some_ids(40);
      const Values table = rounded<TypeParam>(normals(vocabulary * cols, 1));
      Stored<TypeParam> x(40, cols);

      kernels::embedding_forward<TypeParam>({}, Stored<TypeParam>(table, cols), ids, scale, x);

      const auto n = static_cast<std::size_t>(cols);
      const Values expected = reference::embedding(table, ids, n, static_cast<double>(scale));
      EXPECT_EQ(rounded<TypeParam>(expected), x.values());
    }
  });
}

// The vocabulary in shards of 10 and 13 tokens.
TYPED_TEST(Embedding, ShardsAddUpToTheWholeTable) {
  constexpr std::int64_t cols = 18;
  constexpr std::int64_t cut = 10;
  const std::vector<std::int32_t> ids = some_ids(40);
  const Values values = rounded<TypeParam>(normals(vocabulary * cols, 1));
  const Stored<TypeParam> table(values, cols);
  const Matrix<const TypeParam> rows = table;
  Stored<TypeParam> whole(40, cols);
  Stored<TypeParam> low(40, cols);
  Stored<TypeParam> high(40, cols);

  kernels::embedding_forward<TypeParam>({}, rows, ids, scale, whole);
  kernels::embedding_forward<TypeParam>({}, rows.slice(0, cut), ids, scale, low);
  kernels::embedding_forward<TypeParam>({}, rows.slice(cut, vocabulary - cut), ids, scale, high, cut);

  Values sum = low.values();
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] += high.values()[i];
  }
  EXPECT_EQ(whole.values(), sum);
  EXPECT_TRUE(low.gaps_untouched());

  kernels::EmbeddingOrder order;
  kernels::sort_by_id(ids, order);
  Stored<float> d_whole(Values(vocabulary * cols, 0.0), cols);
  Stored<float> d_shards(Values(vocabulary * cols, 0.0), cols);
  const Matrix<float> d_rows = d_shards;
  kernels::embedding_backward<TypeParam>({}, order, whole, scale, d_whole);
  kernels::embedding_backward<TypeParam>({}, order, whole, scale, d_rows.slice(0, cut));
  kernels::embedding_backward<TypeParam>({}, order, whole, scale, d_rows.slice(cut, vocabulary - cut), cut);

  EXPECT_EQ(d_whole.bytes(), d_shards.bytes());
}

TYPED_TEST(Embedding, BackwardAddsTheRowsOfEachTokenButNotOfPadding) {
  on_each_target([] {
    for (const std::int64_t cols : {1, 18, 64}) {
      const std::vector<std::int32_t> ids = some_ids(40);
      const std::span<const std::int32_t> used(ids.data(), 33);
      const Values dx = rounded<TypeParam>(normals(40 * cols, 2));
      const Values old = rounded<float>(normals(vocabulary * cols, 3));
      Stored<float> dtable(old, cols);
      kernels::EmbeddingOrder order;

      kernels::sort_by_id(used, order);
      kernels::embedding_backward<TypeParam>({}, order, Stored<TypeParam>(dx, cols), scale, dtable);

      const auto n = static_cast<std::size_t>(cols);
      Values expected = reference::embedding_gradient({dx.begin(), dx.begin() + 33 * cols}, {used.begin(), used.end()},
                                                      n, vocabulary, static_cast<double>(scale));
      for (std::size_t i = 0; i < old.size(); ++i) {
        expected[i] += old[i];
      }
      EXPECT_LT(error(expected, dtable.values()), tolerance<float>(8));
    }
  });
}

TEST(EmbeddingOrder, IsStableAndGroupsEqualIds) {
  const std::vector<std::int32_t> ids = {5, 0, 5, 2, 0, 5};
  kernels::EmbeddingOrder order;

  kernels::sort_by_id(ids, order);

  EXPECT_EQ(order.ids, (std::vector<std::int32_t>{0, 2, 5}));
  EXPECT_EQ(order.starts, (std::vector<std::int32_t>{0, 2, 3, 6}));
  EXPECT_EQ(order.positions, (std::vector<std::int32_t>{1, 4, 3, 0, 2, 5}));
}

TEST(EmbeddingOrder, OfNothingIsEmpty) {
  kernels::EmbeddingOrder order;

  kernels::sort_by_id({}, order);

  EXPECT_EQ(order.starts, (std::vector<std::int32_t>{0}));
}

TYPED_TEST(Embedding, GradientIsTheSameOnAnyNumberOfThreads) {
  const std::vector<std::int32_t> ids = some_ids(1000);
  const Stored<TypeParam> dx(normals(1000 * 800, 4), 800);
  kernels::EmbeddingOrder order;
  kernels::sort_by_id(ids, order);
  const auto run = [&] {
    Stored<float> dtable(Values(vocabulary * 800, 0.0), 800);
    kernels::embedding_backward<TypeParam>({}, order, dx, scale, dtable);
    return dtable.bytes();
  };

  EXPECT_TRUE(same_on_all_threads(run));
}

TEST(EmbeddingReference, GradientEqualsFiniteDifferences) {
  const std::vector<std::int32_t> ids = {1, 3, 1, 0};
  const Values table = normals(4 * 3, 5);
  const Values dx = normals(4 * 3, 6);
  const auto loss = [&](const Values& at) { return dot(dx, reference::embedding(at, ids, 3, 2.5)); };

  EXPECT_LT(finite_difference_error(loss, table, reference::embedding_gradient(dx, ids, 3, 4, 2.5)), 1e-8);
}

}  // namespace
}  // namespace hrm::test
