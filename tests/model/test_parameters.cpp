#include "model/parameters.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "config/resolve.hpp"

namespace hrm::model {
namespace {

config::ModelConfig small(const std::string& architecture) {
  config::ModelConfig config;
  config.architecture = architecture;
  config.half_layers = architecture != "transformer" && architecture != "ut";
  config.layers = 4;
  config.hidden_size = 72;
  config.num_heads = 12;
  config.intermediate_size = 60;
  config.vocab_size = 120;
  config.vocab_multiple = 1;
  return config::complete_model(config, 0);
}

class EveryLayout : public testing::TestWithParam<int> {};

TEST_P(EveryLayout, BucketsAreWholeBlocksThatCoverTheFlatArray) {
  const ParameterTable table = parameter_table(small("hrm"), {GetParam() - 1, GetParam()});

  ASSERT_EQ(table.buckets.size(), 2U + 4U);  // embedding, head, two layers of two stacks
  std::int64_t end = 0;
  int row = 0;
  for (const Bucket& bucket : table.buckets) {
    EXPECT_EQ(bucket.range.first, end);
    EXPECT_EQ(bucket.range.last % flat_block, 0);
    EXPECT_EQ(bucket.first_row, row);
    for (; row < bucket.last_row; ++row) {
      const Parameter& parameter = table.rows[static_cast<std::size_t>(row)];
      EXPECT_EQ(parameter.offset % 64, 0);
      EXPECT_GE(parameter.offset, end);
      end = parameter.offset + parameter.count();
      EXPECT_EQ(table.bucket_of(row), &bucket - table.buckets.data());
    }
    EXPECT_LE(end, bucket.range.last);
    EXPECT_LT(bucket.range.last - end, flat_block);
    end = bucket.range.last;
  }
  EXPECT_EQ(end, table.flat_size);
  EXPECT_EQ(row + 1, std::ssize(table.rows));  // zL_init is in no bucket
}

TEST_P(EveryLayout, SlicesOfAllRanksAreTheTensorAndItsInitialValues) {
  const ParameterTable whole = parameter_table(small("rins"));
  std::vector<std::vector<int>> covered;
  for (const Parameter& row : whole.rows) {
    covered.emplace_back(static_cast<std::size_t>(row.count()));
  }
  for (int rank = 0; rank < GetParam(); ++rank) {
    const ParameterTable table = parameter_table(small("rins"), {rank, GetParam()});
    EXPECT_EQ(table.total_count, whole.total_count);
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      const Parameter& row = table.rows[r];
      EXPECT_EQ(row.slice.logical_shape, whole.rows[r].shape);
      EXPECT_EQ(row.shape, row.slice.shape());
      std::vector<float> logical(covered[r].size());
      std::vector<float> slice(static_cast<std::size_t>(row.count()));
      initial_values(whole.rows[r], 9, 0, logical);
      initial_values(row, 9, 0, slice);
      row.slice.for_each_run(0, row.count(), [&](std::int64_t at, std::int64_t index, std::int64_t length) {
        EXPECT_TRUE(std::equal(slice.begin() + at, slice.begin() + at + length, logical.begin() + index)) << row.name;
        std::for_each_n(covered[r].begin() + index, length, [](int& count) { ++count; });
      });
    }
  }
  for (std::size_t r = 0; r < covered.size(); ++r) {
    const int times = whole.rows[r].trainable ? 1 : GetParam();  // every rank has all of zL_init
    EXPECT_EQ(std::count(covered[r].begin(), covered[r].end(), times), std::ssize(covered[r])) << whole.rows[r].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, EveryLayout, testing::Values(1, 2, 3, 4, 6));

TEST(Parameters, TensorsAreCutByHeadsColumnsAndVocabulary) {
  const ParameterTable table = parameter_table(small("transformer"), {1, 3});
  const auto shape = [&](const char* name) { return table.find(name)->shape; };
  using Shape = std::vector<std::int64_t>;

  EXPECT_EQ(shape("embed_tokens"), (Shape{40, 72}));
  EXPECT_EQ(shape("lm_head"), (Shape{40, 72}));
  EXPECT_EQ(shape("layers.0.gqkv"), (Shape{96, 72}));
  EXPECT_EQ(shape("layers.0.o"), (Shape{72, 24}));
  EXPECT_EQ(shape("layers.0.gate_up"), (Shape{40, 72}));
  EXPECT_EQ(shape("layers.0.down"), (Shape{72, 20}));
  // Rank 1 has heads 4 to 7 of the gate, then of q: rows 24 and 72 + 24 of the whole tensor.
  std::vector<std::int64_t> rows;
  table.find("layers.0.gqkv")->slice.for_each_run(0, std::int64_t{48} * 72, [&](auto, auto index, auto) {
    rows.push_back(index / 72);
  });
  EXPECT_EQ(rows, (std::vector<std::int64_t>{24, 96}));
}

TEST(Parameters, GroupsThatDoNotDivideAreOurBug) {
  EXPECT_THROW(parameter_table(small("hrm"), {0, 5}), InternalError);
}

TEST(Parameters, InitialValuesDoNotDependOnTheShard) {
  for (const TensorPlace place : {TensorPlace{}, TensorPlace{1, 2}}) {
    const ParameterTable table = parameter_table(small("hrm"), place);
    for (const std::size_t row : {2, 3}) {  // row blocks, and columns
      const std::int64_t count = table.rows[row].count();
      std::vector<float> whole(static_cast<std::size_t>(count));
      std::vector<float> part(static_cast<std::size_t>(count - 61));

      initial_values(table.rows[row], 9, 0, whole);
      initial_values(table.rows[row], 9, 61, part);

      EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 61));
    }
  }
}

}  // namespace
}  // namespace hrm::model
