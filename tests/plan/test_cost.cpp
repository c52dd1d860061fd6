#include <gtest/gtest.h>

#include "config/resolve.hpp"
#include "plan/cost.hpp"

namespace hrm::plan {

TEST(Cost, VisiblePairsCountTheMask) {
  // P = 3, two more tokens: 3 x 3 in the prefix, then 4 and 5.
  EXPECT_EQ(visible_pairs(3, 2, true), 18);
  EXPECT_EQ(visible_pairs(3, 2, false), 15);
}

// The account of the published XL model: per token 7.85 GF forward, 9.81 GF backward at 5 steps, 0.60 GF for the head
// (half-stacks of 490.7 M parameters, E of 100.7 M).
TEST(Cost, PublishedXlModelCostsWhatItsSizesSay) {
  config::ModelConfig xl;
  xl.layers = 32;
  xl.hidden_size = 1536;
  xl.num_heads = 12;
  xl.vocab_size = 65536;
  xl = config::complete_model(xl, 0);

  const Cost cost = plan::cost(xl, {5}, {1000, 1000, 0});

  EXPECT_NEAR(cost.product_flops() / 1000 / 1e9, 18.27, 0.01);
}

}  // namespace hrm::plan
