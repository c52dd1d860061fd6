#include <gtest/gtest.h>

#include "model/program.hpp"
#include "model/unroll.hpp"

namespace hrm::model {
namespace {

config::ModelConfig hrm_2x3() {
  config::ModelConfig config;
  config.h_cycles = 2;
  config.l_cycles = 3;
  return config;
}

std::string on_steps(const std::vector<Step>& steps) {
  std::string names;
  for (const Step& step : steps) {
    names += step.on ? step.name + " " : "";
  }
  return names;
}

}  // namespace

// The table of golden A.10.
TEST(Unroll, HierarchicalHorizonsDifferentiateTheStepsOfTheTable) {
  EXPECT_EQ(on_steps(unroll(hrm_2x3(), {2})), "L_5 H_1 ");
  EXPECT_EQ(on_steps(unroll(hrm_2x3(), {3})), "H_0 L_5 H_1 ");
  EXPECT_EQ(on_steps(unroll(hrm_2x3(), {4})), "H_0 L_4 L_5 H_1 ");
  EXPECT_EQ(on_steps(unroll(hrm_2x3(), {5})), "H_0 L_3 L_4 L_5 H_1 ");
  EXPECT_EQ(on_steps(unroll(hrm_2x3(), {8})), "L_0 L_1 L_2 H_0 L_3 L_4 L_5 H_1 ");
}

TEST(Unroll, EmbeddingIsReachedFromHorizonHCyclesPlusOne) {
  EXPECT_FALSE(reaches_embedding(unroll(hrm_2x3(), {2})));
  EXPECT_TRUE(reaches_embedding(unroll(hrm_2x3(), {3})));
}

TEST(Unroll, RinsInjectsTheEmbeddingIntoEveryLowStepAndNothingIntoTheHighOne) {
  config::ModelConfig config;
  config.architecture = "rins";
  config.l_cycles = 2;
  config.l_bp_cycles = 1;

  const std::vector<Step> steps = unroll(config, {});

  ASSERT_EQ(steps.size(), 3U);
  EXPECT_EQ(steps[0].second, value_x);
  EXPECT_EQ(steps[1].second, value_x);
  EXPECT_EQ(steps[2].second, no_value);
}

// A value's slot must not be given to another value while it is still read, forward or (for kept ones) backward.
TEST(Program, NoSlotIsReusedWhileItsValueIsNeeded) {
  for (const bool recompute : {false, true}) {
    for (std::int64_t horizon = 2; horizon <= 8; ++horizon) {
      const Program program = make_program(hrm_2x3(), {horizon}, recompute);
      for (int k = 0; k < static_cast<int>(program.steps.size()); ++k) {
        const int written = program.value_slot[static_cast<std::size_t>(value_of_step(k))];
        for (int reader = k; reader < static_cast<int>(program.steps.size()); ++reader) {
          const Step& step = program.steps[static_cast<std::size_t>(reader)];
          for (const Value value : {step.first, step.second}) {
            const bool older = value != no_value && value != value_zl_init && value < value_of_step(k);
            EXPECT_FALSE(older && program.value_slot[static_cast<std::size_t>(value)] == written)
                << "horizon " << horizon << " step " << step.name;
          }
        }
      }
    }
  }
}

TEST(Program, WeightGradientsOfAStackAreFinalAfterItsEarliestDifferentiatedUse) {
  const Program program = make_program(hrm_2x3(), {5}, false);

  std::string last;
  for (const BackwardStep& step : program.backward) {
    last += step.last_use_of_stack ? program.steps[static_cast<std::size_t>(step.step)].name + " " : "";
  }

  EXPECT_EQ(last, "L_3 H_0 ");
}

}  // namespace hrm::model
