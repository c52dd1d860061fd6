#include <gtest/gtest.h>

#include <cmath>

#include "optim/optimizer.hpp"
#include "optim/schedule.hpp"

namespace hrm::optim {
namespace {

ParameterTable two_rows() {
  ParameterTable table;
  table.rows.push_back({"a", {2, 50}, 1, TensorSplit::none, 1, true, 0});
  table.rows.push_back({"b", {3, 5}, 1, TensorSplit::none, 1, true, 128});
  table.rows.push_back({"zL_init", {5}, 1, TensorSplit::none, 1, false, 0});
  table.flat_size = 192;
  return table;
}

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
    for (const auto& range : {pieces(table, 0, cut), pieces(table, cut, 192)}) {
      for (const RowPiece& piece : range) {
        covered += piece.count;
      }
    }
    EXPECT_EQ(covered, 115) << "cut at " << cut;
  }
}

TEST(Optimizer, RowWithoutGradientIsLeftAlone) {
  const ParameterTable table = two_rows();
  Optimizer optimizer(table, 0, 192, settings());
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
  Optimizer optimizer(table, 0, 192, settings());
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
  Optimizer all(table, 0, 192, settings());
  all.update(whole, gradient, 0.02, [](int) { return true; });

  for (const auto& [first, last] : {std::pair<std::int64_t, std::int64_t>{0, 37}, {37, 130}, {130, 192}}) {
    Optimizer shard(table, first, last, settings());
    const auto count = static_cast<std::size_t>(last - first);
    shard.update(std::span(parts).subspan(static_cast<std::size_t>(first), count),
                 std::span<const float>(gradient).subspan(static_cast<std::size_t>(first), count), 0.02,
                 [](int) { return true; });
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
