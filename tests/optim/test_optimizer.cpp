#include <gtest/gtest.h>

#include <cmath>

#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"

namespace hrm::optim {
namespace {

Parameter whole_row(const std::string& name, const std::vector<std::int64_t>& shape, std::int64_t offset) {
  Parameter row;
  row.name = name;
  row.slice.logical_shape = shape;
  row.shape = shape;
  row.offset = offset;
  return row;
}

ParameterTable two_rows() {
  ParameterTable table;
  table.rows.push_back(whole_row("a", {2, 50}, 0));
  table.rows.push_back(whole_row("b", {3, 5}, 128));
  table.rows.push_back(whole_row("zL_init", {5}, 0));
  table.rows.back().trainable = false;
  table.flat_size = 192;
  return table;
}

using Ranges = std::vector<FlatRange>;
const Ranges everything{{0, 192}};

config::TrainConfig settings() {
  config::TrainConfig config;
  config.weight_decay = 0.1;
  config.ema = 0.5;
  return config;
}

}  // namespace

TEST(Pieces, CoverEveryTrainableElementOnceWhereverTheRangeIsCut) {
  const ParameterTable table = two_rows();
  for (std::int64_t cut = 0; cut <= 192; ++cut) {
    std::int64_t covered = 0;
    for (const auto& range : {pieces(table, Ranges{{0, cut}}), pieces(table, Ranges{{cut, 192}})}) {
      for (const RowPiece& piece : range) {
        covered += piece.count;
      }
    }
    EXPECT_EQ(covered, 115) << "cut at " << cut;
  }
}

TEST(Optimizer, RowWithoutGradientIsLeftAlone) {
  const ParameterTable table = two_rows();
  Optimizer optimizer(table, everything, settings());
  std::vector<float> weights(192, 1.0F);
  const std::vector<float> gradient(192, 0.5F);
  optimizer.start_average(weights);

  optimizer.update(weights, gradient, 0.01, [](int row) { return row == 0; });

  EXPECT_EQ(optimizer.counts(), (std::vector<std::int64_t>{1, 0, 0}));
  EXPECT_EQ(weights[128], 1.0F);
  EXPECT_EQ(optimizer.average()[128], 1.0F);
  EXPECT_NE(weights[0], 1.0F);
}

// First update by hand: w (1 - lr wd) - lr / (1 - b1) atan2((1-b1) g, sqrt((1-b2) g²) / sqrt(1-b2)); e halfway.
TEST(Optimizer, FirstUpdateIsTheFormula) {
  const ParameterTable table = two_rows();
  Optimizer optimizer(table, everything, settings());
  std::vector<float> weights(192, 1.0F);
  const std::vector<float> gradient(192, 0.5F);
  optimizer.start_average(weights);

  optimizer.update(weights, gradient, 0.01, [](int) { return true; });

  const double expected = 1 * (1 - 0.01 * 0.1) - 0.01 / 0.1 * std::atan2(0.1 * 0.5, 0.5);
  EXPECT_NEAR(weights[3], expected, 1e-7);
  EXPECT_NEAR(optimizer.average()[3], (1 + expected) / 2, 1e-7);
}

TEST(Optimizer, ShardsGiveTheSameBitsAsTheWhole) {
  const ParameterTable table = two_rows();
  std::vector<float> whole(192);
  std::vector<float> gradient(192);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    whole[i] = std::sin(static_cast<float>(i));
    gradient[i] = std::cos(3 * static_cast<float>(i)) * 1e-3F;
  }
  std::vector<float> parts = whole;
  Optimizer all(table, everything, settings());
  all.update(whole, gradient, 0.02, [](int) { return true; });

  for (const Ranges& ranges : {Ranges{{0, 37}, {130, 192}}, Ranges{{37, 130}}}) {
    Optimizer shard(table, ranges, settings());
    std::vector<float> own;
    for (const FlatRange& range : ranges) {
      own.insert(own.end(), parts.begin() + range.first, parts.begin() + range.last);
    }
    shard.update(own, gradient, 0.02, [](int) { return true; });
    const float* from = own.data();
    for (const FlatRange& range : ranges) {
      std::copy_n(from, range.count(), parts.begin() + range.first);
      from += range.count();
    }
  }

  EXPECT_EQ(whole, parts);
}

TEST(Schedule, WarmUpBeginsAtOnePartAndTheCosineEndsAtTheRatio) {
  EXPECT_DOUBLE_EQ(learning_rate(1, 1.0, 4, 20, 0.1), 0.25);
  EXPECT_DOUBLE_EQ(learning_rate(4, 1.0, 4, 20, 0.1), 1.0);
  EXPECT_NEAR(learning_rate(20, 1.0, 4, 20, 0.1), 0.1, 1e-15);
}

TEST(Schedule, BackwardStepsReachTheMaximumOnlyAtTheEndOfTheRamp) {
  EXPECT_EQ(backward_steps(1, 100, 2, 5, 0.2), 2);
  EXPECT_EQ(backward_steps(7, 100, 2, 5, 0.2), 3);
  EXPECT_EQ(backward_steps(19, 100, 2, 5, 0.2), 4);
  EXPECT_EQ(backward_steps(20, 100, 2, 5, 0.2), 5);
  EXPECT_EQ(backward_steps(1, 100, 2, 5, 0.0), 5);
}

}  // namespace hrm::optim
