#include "kernels/elementwise.hpp"

#include <numeric>

#include "tests/kernels/kernel_test.hpp"

namespace hrm::test {
namespace {

template <class T>
class Elementwise : public testing::Test {};
using Types = testing::Types<float, bf16>;
TYPED_TEST_SUITE(Elementwise, Types);

template <class T>
Values sum(const Values& a, const Values& b) {
  Values result(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    result[i] = a[i] + b[i % b.size()];
  }
  return rounded<T>(rounded<float>(result));
}

template <class T>
std::vector<T> stored_row(const Values& row) {
  std::vector<T> result(row.size());
  std::transform(row.begin(), row.end(), result.begin(), [](double x) { return from_float<T>(static_cast<float>(x)); });
  return result;
}

TYPED_TEST(Elementwise, AddRoundsOnceAndMayOverwriteAnOperand) {
  on_each_target([] {
    const Values a = rounded<TypeParam>(normals(5 * 37, 1));
    const Values b = rounded<TypeParam>(normals(5 * 37, 2));
    Stored<TypeParam> out(a, 37);

    kernels::add<TypeParam>(test_stream(), out, Stored<TypeParam>(b, 37), out);

    EXPECT_EQ(sum<TypeParam>(a, b), out.values());
    EXPECT_TRUE(out.gaps_untouched());
  });
}

TYPED_TEST(Elementwise, AddRowAddsTheRowToEveryRow) {
  const Values a = rounded<TypeParam>(normals(5 * 37, 3));
  const Values row = rounded<TypeParam>(normals(37, 4));
  const std::vector<TypeParam> stored = stored_row<TypeParam>(row);
  Stored<TypeParam> out(5, 37);

  kernels::add_row<TypeParam>(test_stream(), Stored<TypeParam>(a, 37), stored, out);

  EXPECT_EQ(sum<TypeParam>(a, row), out.values());
}

TYPED_TEST(Elementwise, FillAndCopyRows) {
  const Values row = rounded<TypeParam>(normals(37, 5));
  const std::vector<TypeParam> stored = stored_row<TypeParam>(row);
  Stored<TypeParam> filled(4, 37);
  Stored<TypeParam> copied(4, 37, 8);

  kernels::fill_rows<TypeParam>(test_stream(), stored, filled);
  kernels::copy<TypeParam>(test_stream(), filled, copied);

  EXPECT_EQ(sum<TypeParam>(Values(4 * 37, 0.0), row), filled.values());
  EXPECT_EQ(filled.values(), copied.values());
  EXPECT_TRUE(copied.gaps_untouched());
}

TYPED_TEST(Elementwise, GatherAndScatterRows) {
  const std::vector<std::int32_t> rows = {4, 0, 2};
  const Stored<TypeParam> x(Values{0, 0, 1, 1, 2, 2, 3, 3, 4, 4}, 2);
  Stored<TypeParam> gathered(4, 2);
  Stored<TypeParam> scattered(5, 2);

  kernels::gather_rows<TypeParam>(test_stream(), x, rows, gathered);
  kernels::scatter_rows<TypeParam>(test_stream(), gathered, rows, scattered);

  EXPECT_EQ(gathered.values(), (Values{4, 4, 0, 0, 2, 2, 0, 0}));
  EXPECT_EQ(scattered.values(), (Values{0, 0, 0, 0, 2, 2, 0, 0, 4, 4}));
}

TYPED_TEST(Elementwise, SumOfPartsIsInTheirOrderAndRoundsOnce) {
  on_each_target([] {
    std::vector<Values> values;
    std::vector<Stored<TypeParam>> stored;
    for (const std::uint64_t seed : {21, 22, 23}) {
      values.push_back(rounded<TypeParam>(normals(5 * 37, seed)));
      stored.emplace_back(values.back(), 37);
    }
    const Values before = rounded<TypeParam>(normals(5 * 37, 24));
    Stored<TypeParam> fresh(5, 37);
    Stored<TypeParam> added(before, 37);
    const std::vector<Matrix<const TypeParam>> parts(stored.begin(), stored.end());

    kernels::sum_parts<TypeParam>(test_stream(), parts, fresh, false);
    kernels::sum_parts<TypeParam>(test_stream(), parts, added, true);

    const Values total = sum<float>(sum<float>(values[0], values[1]), values[2]);
    EXPECT_EQ(rounded<TypeParam>(total), fresh.values());
    EXPECT_EQ(sum<TypeParam>(before, total), added.values());
    EXPECT_TRUE(added.gaps_untouched());
  });
}

TYPED_TEST(Elementwise, CastRoundsToNearestEven) {
  on_each_target([] {
    std::vector<float> from = narrowed(normals(3001, 6, 1e3));
    from[0] = 1.00390625F;    // halfway between two bf16, even below
    from[1] = 1.01171875F;    // halfway, even above
    from[2] = 3.4028235e38F;  // rounds to infinity
    from[3] = 1e-45F;
    from[4] = std::nanf("");
    std::vector<TypeParam> to(from.size());

    kernels::cast<TypeParam>(test_stream(), from, to);

    for (std::size_t i = 0; i < from.size(); ++i) {
      const TypeParam expected = from_float<TypeParam>(from[i]);
      EXPECT_EQ(std::memcmp(&expected, &to[i], sizeof(TypeParam)), 0) << i;
    }
  });
}

TEST(TreeAdd, AddsInPlaceWhateverTheSpan) {
  on_each_target([] {
    const Values a = rounded<float>(normals(40007, 7));
    const Values b = rounded<float>(normals(40007, 8));
    std::vector<float> result = narrowed(a);
    const std::vector<float> other = narrowed(b);
    const std::span<float> all(result);

    kernels::tree_add(test_stream(), all.first(13), std::span(other).first(13));
    kernels::tree_add(test_stream(), all.subspan(13), std::span(other).subspan(13));

    EXPECT_EQ(sum<float>(a, b), widened(result));
  });
}

TEST(BlockSquareSums, AreTheSameOnEveryInstructionSetAndThreadCount) {
  const std::vector<float> x = narrowed(normals(10 * 4096 + 77, 9, 1e-3));
  const auto run = [&] {
    std::vector<double> sums(11);
    kernels::block_square_sums(test_stream(), x, 4096, sums);
    return sums;
  };

  const std::vector<double> expected = run();
  on_each_target([&] { EXPECT_EQ(expected, run()); });

  EXPECT_TRUE(same_on_all_threads(run));
}

TEST(BlockSquareSums, CoverTheShorterLastBlock) {
  const std::vector<float> x(100, 2.0F);
  std::vector<double> sums(3);

  kernels::block_square_sums(test_stream(), x, 48, sums);

  EXPECT_EQ(sums, (std::vector<double>{192.0, 192.0, 16.0}));
}

TEST(Zero, SetsEveryElement) {
  std::vector<float> x(50001, 3.0F);

  kernels::zero(test_stream(), std::span(x).subspan(1));

  EXPECT_EQ(x[0], 3.0F);
  EXPECT_EQ(std::accumulate(x.begin(), x.end(), 0.0F), 3.0F);
}

}  // namespace
}  // namespace hrm::test
