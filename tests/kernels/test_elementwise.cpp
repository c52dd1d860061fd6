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

/// Calls check(cols, gap) for rows of part of a block, and of several blocks.
template <class Check>
void for_shapes(const Check& check) {
  on_each_target([&] {
    for (const std::int64_t cols : {1, 37, 40, 2104}) {
      for (const std::int64_t gap : row_gaps) {
        check(cols, gap);
      }
    }
  });
}

TYPED_TEST(Elementwise, AddRoundsOnceAndMayOverwriteAnOperand) {
  for_shapes([](std::int64_t cols, std::int64_t gap) {
    const Values a = rounded<TypeParam>(normals(5 * cols, 1));
    const Values b = rounded<TypeParam>(normals(5 * cols, 2));
    Stored<TypeParam> out(a, cols, gap);

    kernels::add<TypeParam>(test_stream(), out, Stored<TypeParam>(b, cols, gap), out);

    EXPECT_EQ(sum<TypeParam>(a, b), out.values());
    EXPECT_TRUE(out.gaps_untouched());
  });
}

TYPED_TEST(Elementwise, AddRowAddsTheRowToEveryRow) {
  for_shapes([](std::int64_t cols, std::int64_t gap) {
    const Values a = rounded<TypeParam>(normals(5 * cols, 3));
    const Values row = rounded<TypeParam>(normals(cols, 4));
    const std::vector<TypeParam> stored = stored_row<TypeParam>(row);
    Stored<TypeParam> out(5, cols, gap);

    kernels::add_row<TypeParam>(test_stream(), Stored<TypeParam>(a, cols, gap), stored, out);

    EXPECT_EQ(sum<TypeParam>(a, row), out.values());
  });
}

TYPED_TEST(Elementwise, FillAndCopyRows) {
  for_shapes([](std::int64_t cols, std::int64_t gap) {
    const Values row = rounded<TypeParam>(normals(cols, 5));
    const std::vector<TypeParam> stored = stored_row<TypeParam>(row);
    Stored<TypeParam> filled(4, cols, gap);
    Stored<TypeParam> copied(4, cols, 8);

    kernels::fill_rows<TypeParam>(test_stream(), stored, filled);
    kernels::copy<TypeParam>(test_stream(), filled, copied);

    EXPECT_EQ(sum<TypeParam>(Values(static_cast<std::size_t>(4 * cols), 0.0), row), filled.values());
    EXPECT_EQ(filled.values(), copied.values());
    EXPECT_TRUE(copied.gaps_untouched());
  });
}

/// Rows of x by number, in order; a number of -1 is a row of zeros.
Values picked(const Values& x, std::int64_t cols, const std::vector<std::int64_t>& rows) {
  Values result;
  for (const std::int64_t row : rows) {
    for (std::int64_t i = 0; i < cols; ++i) {
      result.push_back(row < 0 ? 0.0 : x[static_cast<std::size_t>(row * cols + i)]);
    }
  }
  return result;
}

TYPED_TEST(Elementwise, GatherAndScatterRows) {
  const std::vector<std::int32_t> rows = {4, 0, 2};
  for_shapes([&](std::int64_t cols, std::int64_t gap) {
    const Values x = rounded<TypeParam>(normals(5 * cols, 6));
    Stored<TypeParam> gathered(4, cols, gap);
    Stored<TypeParam> scattered(5, cols, gap);

    kernels::gather_rows<TypeParam>(test_stream(), Stored<TypeParam>(x, cols, gap), rows, gathered);
    kernels::scatter_rows<TypeParam>(test_stream(), gathered, rows, scattered);

    EXPECT_EQ(gathered.values(), picked(x, cols, {4, 0, 2, -1}));
    EXPECT_EQ(scattered.values(), picked(x, cols, {0, -1, 2, -1, 4}));
    EXPECT_TRUE(gathered.gaps_untouched() && scattered.gaps_untouched());
  });
}

TYPED_TEST(Elementwise, SumOfPartsIsInTheirOrderAndRoundsOnce) {
  for_shapes([](std::int64_t cols, std::int64_t gap) {
    std::vector<Stored<TypeParam>> stored;
    Values total;
    for (std::uint64_t p = 0; p < kernels::most_parts; ++p) {
      const Values values = rounded<TypeParam>(normals(5 * cols, 20 + p));
      stored.emplace_back(values, cols, gap + 8 * static_cast<std::int64_t>(p));
      total = p == 0 ? values : sum<float>(total, values);
    }
    const Values before = rounded<TypeParam>(normals(5 * cols, 44));
    Stored<TypeParam> fresh(5, cols, gap);
    Stored<TypeParam> added(before, cols, gap);
    Stored<TypeParam> one(5, cols, gap);
    const std::vector<Matrix<const TypeParam>> parts(stored.begin(), stored.end());

    kernels::sum_parts<TypeParam>(test_stream(), parts, fresh, false);
    kernels::sum_parts<TypeParam>(test_stream(), parts, added, true);
    kernels::sum_parts<TypeParam>(test_stream(), std::span(parts).first(1), one, false);

    EXPECT_EQ(rounded<TypeParam>(total), fresh.values());
    EXPECT_EQ(sum<TypeParam>(before, total), added.values());
    EXPECT_EQ(stored[0].values(), one.values());
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
      if (std::isnan(from[i])) {
        EXPECT_TRUE(std::isnan(to_float(to[i])));
      } else {
        EXPECT_EQ(to_float(to[i]), to_float(expected)) << i;
        EXPECT_EQ(std::signbit(to_float(to[i])), std::signbit(to_float(expected))) << i;
      }
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

TEST(BlockSquareSums, AreTheSameOnEveryDevice) {
  for (const std::int64_t block : {4096, 100, 7}) {
    const std::vector<float> x = narrowed(normals(37 * block + 3, 10, 1e-3));
    std::vector<double> here(38);
    std::vector<double> there(38);

    kernels::block_square_sums({}, x, block, here);
    kernels::block_square_sums(test_stream(), x, block, there);

    EXPECT_EQ(here, there) << block;
  }
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
