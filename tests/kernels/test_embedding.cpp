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

/// Half of them token 7.
std::vector<std::int32_t> skewed_ids(std::int64_t count) {
  std::vector<std::int32_t> ids = some_ids(count);
  for (std::size_t i = 0; i < ids.size(); i += 2) {
    ids[i] = 7;
  }
  return ids;
}

std::vector<std::int32_t> list(std::span<const std::int32_t> x) {
  return {x.begin(), x.end()};
}

/// dtable += gradient of `ids`, ordered by a copy of the order's words, with as much scratch as it asks for.
template <class T>
void add_gradient(const std::vector<std::int32_t>& ids, const Stored<T>& dx, Matrix<float> dtable,
                  std::int32_t first = 0) {
  kernels::EmbeddingOrderBuffer buffer(std::ssize(ids));
  kernels::sort_by_id(ids, buffer);
  Buffer<std::int32_t> copy(std::ssize(buffer.words()), MemoryPart::workspace, test_device().staging());
  std::copy(buffer.words().begin(), buffer.words().end(), copy.data());
  const kernels::EmbeddingOrder order = buffer.order_at(copy.data());
  std::vector<float> partials(static_cast<std::size_t>(order.partial_rows * dtable.cols), std::nanf(""));

  kernels::embedding_backward<T>(test_stream(), order, dx, scale, dtable, first, partials);
}

template <class T>
class Embedding : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Embedding, Types);

TYPED_TEST(Embedding, ForwardScalesTheRows) {
  on_each_target([] {
    for (const std::int64_t cols : {1, 18, 64, 2104}) {
      const std::vector<std::int32_t> ids = some_ids(40);
      const Values table = rounded<TypeParam>(normals(vocabulary * cols, 1));
      Stored<TypeParam> x(40, cols);

      kernels::embedding_forward<TypeParam>(test_stream(), Stored<TypeParam>(table, cols), ids, scale, x);

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

  kernels::embedding_forward<TypeParam>(test_stream(), rows, ids, scale, whole);
  kernels::embedding_forward<TypeParam>(test_stream(), rows.slice(0, cut), ids, scale, low);
  kernels::embedding_forward<TypeParam>(test_stream(), rows.slice(cut, vocabulary - cut), ids, scale, high, cut);

  Values sum = low.values();
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] += high.values()[i];
  }
  EXPECT_EQ(whole.values(), sum);
  EXPECT_TRUE(low.gaps_untouched());

  Stored<float> d_whole(Values(vocabulary * cols, 0.0), cols);
  Stored<float> d_shards(Values(vocabulary * cols, 0.0), cols);
  const Matrix<float> d_rows = d_shards;
  add_gradient(ids, whole, d_whole);
  add_gradient(ids, whole, d_rows.slice(0, cut));
  add_gradient(ids, whole, d_rows.slice(cut, vocabulary - cut), cut);

  EXPECT_EQ(d_whole.bytes(), d_shards.bytes());
}

TYPED_TEST(Embedding, BackwardAddsTheRowsOfEachTokenButNotOfPadding) {
  on_each_target([] {
    for (const std::int64_t cols : {1, 18, 64, 2104}) {
      const std::vector<std::int32_t> used = some_ids(33);
      const Values dx = rounded<TypeParam>(normals(40 * cols, 2));
      const Values old = rounded<float>(normals(vocabulary * cols, 3));
      Stored<float> dtable(old, cols);

      add_gradient(used, Stored<TypeParam>(dx, cols), dtable);

      const auto n = static_cast<std::size_t>(cols);
      Values expected = reference::embedding_gradient({dx.begin(), dx.begin() + 33 * cols}, used, n, vocabulary,
                                                      static_cast<double>(scale));
      for (std::size_t i = 0; i < old.size(); ++i) {
        expected[i] += old[i];
      }
      EXPECT_LT(error(expected, dtable.values()), tolerance<float>(8));
    }
  });
}

// Token 7 has 250 positions: 8 chunks of at most 32, whose sums are added up.
TYPED_TEST(Embedding, FrequentTokensGetTheirWholeGradient) {
  for (const std::int64_t gap : {3, 8}) {
    constexpr std::int64_t cols = 48;
    const std::vector<std::int32_t> ids = skewed_ids(480);
    const Values dx = rounded<TypeParam>(normals(480 * cols, 2));
    Stored<float> dtable(Values(vocabulary * cols, 0.0), cols, gap);

    add_gradient(ids, Stored<TypeParam>(dx, cols, gap), dtable);

    const Values expected = reference::embedding_gradient(dx, ids, cols, vocabulary, static_cast<double>(scale));
    EXPECT_LT(error(expected, dtable.values()), tolerance<float>(32));  // sums of 250 in an order of their own
    EXPECT_TRUE(dtable.gaps_untouched());
  }
}

TEST(EmbeddingOrder, IsStableAndGroupsEqualIds) {
  const std::vector<std::int32_t> ids = {5, 0, 5, 2, 0, 5};
  kernels::EmbeddingOrderBuffer buffer(8);

  kernels::sort_by_id(ids, buffer);

  const kernels::EmbeddingOrder order = buffer.order();
  EXPECT_EQ(list(order.ids), (std::vector<std::int32_t>{0, 2, 5}));
  EXPECT_EQ(list(order.starts), (std::vector<std::int32_t>{0, 2, 3, 6}));
  EXPECT_EQ(list(order.positions), (std::vector<std::int32_t>{1, 4, 3, 0, 2, 5}));
}

TEST(EmbeddingOrder, ChunksHoldEveryPositionOnceAndSplitsEveryPartialSum) {
  for (const std::int64_t count : {1, 32, 33, 64, 65, 480, 999}) {
    const std::vector<std::int32_t> ids = skewed_ids(count);
    kernels::EmbeddingOrderBuffer buffer(count);

    kernels::sort_by_id(ids, buffer);

    const kernels::EmbeddingOrder order = buffer.order();
    std::int32_t position = 0;
    std::int32_t row = 0;
    std::size_t split = 0;
    for (const kernels::EmbeddingRun& chunk : order.chunks) {
      EXPECT_EQ(chunk.first, position);
      EXPECT_LE(chunk.last - chunk.first, kernels::embedding_chunk);
      for (; position < chunk.last; ++position) {
        EXPECT_EQ(ids[static_cast<std::size_t>(order.positions[static_cast<std::size_t>(position)])], chunk.token);
      }
      if (chunk.partial >= 0) {
        EXPECT_EQ(chunk.partial, row++);
        split += row > order.splits[split].last ? 1 : 0;
        EXPECT_EQ(order.splits[split].token, chunk.token);
        EXPECT_LE(order.splits[split].first, chunk.partial);
      } else {
        EXPECT_EQ(std::count(ids.begin(), ids.end(), chunk.token), chunk.last - chunk.first);
      }
    }
    EXPECT_EQ(position, count);
    EXPECT_EQ(order.partial_rows, row);
    EXPECT_LE(order.partial_rows, kernels::embedding_partial_rows(count));
    EXPECT_EQ(order.splits.empty() ? 0 : order.splits.back().last, row);
  }
}

TEST(EmbeddingOrder, OfNothingIsEmpty) {
  kernels::EmbeddingOrderBuffer buffer(8);
  kernels::sort_by_id(skewed_ids(8), buffer);

  kernels::sort_by_id({}, buffer);

  EXPECT_EQ(list(buffer.order().starts), (std::vector<std::int32_t>{0}));
  EXPECT_TRUE(buffer.order().chunks.empty());
}

TYPED_TEST(Embedding, GradientIsTheSameOnAnyNumberOfThreads) {
  const std::vector<std::int32_t> ids = some_ids(1000);
  const Stored<TypeParam> dx(normals(1000 * 800, 4), 800);
  const auto run = [&] {
    Stored<float> dtable(Values(vocabulary * 800, 0.0), 800);
    add_gradient(ids, dx, dtable);
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
