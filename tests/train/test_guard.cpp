#include "train/guard.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/digest.hpp"

namespace hrm::train {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

config::GuardConfig window_of(std::int64_t window) {
  config::GuardConfig config;
  config.window = window;
  return config;
}

/// In [-1, 1), a pure function of the step.
double noise(std::int64_t step) {
  return 2 * static_cast<double>(splitmix64(static_cast<std::uint64_t>(step)) >> 11) / 9007199254740992.0 - 1;
}

StepFigures steady(std::int64_t step) {
  return {step, 5, 2 + 0.1 * noise(step), 1 + 0.2 * noise(step + 1000000)};
}

/// Judges and takes down one step.
Verdict take(Guard& guard, const StepFigures& figures) {
  const Verdict verdict = guard.judge(figures);
  guard.note(figures, verdict);
  return verdict;
}

/// A guard that has seen `steps` steady steps.
Guard after(std::int64_t steps, const config::GuardConfig& config = window_of(128)) {
  Guard guard(config);
  for (std::int64_t step = 1; step <= steps; ++step) {
    EXPECT_EQ(take(guard, steady(step)), Verdict::good) << step;
  }
  return guard;
}

io::CheckpointMeta stored(const Guard& guard, std::int64_t step) {
  io::CheckpointMeta meta;
  meta.packs = 4;
  meta.step = step;
  guard.store(meta);
  return meta;
}

}  // namespace

TEST(Guard, LeapOfLossOrNormIsASpike) {
  const Guard guard = after(200);

  EXPECT_EQ(guard.judge({201, 5, 4, 1}), Verdict::spike);
  EXPECT_EQ(guard.judge({201, 5, 2, 9}), Verdict::spike);
  EXPECT_EQ(guard.judge({201, 5, 2, 1}), Verdict::good);
}

TEST(Guard, FallIsNoSpike) {
  EXPECT_EQ(after(200).judge({201, 5, 0, 0}), Verdict::good);
}

TEST(Guard, LimitIsMedianAndTenRobustDeviations) {
  Guard guard(window_of(9));
  for (const std::int64_t step : {1, 2, 3, 4, 5, 6, 7, 8, 9}) {
    guard.note({step, 5, static_cast<double>(step), 1}, Verdict::good);
  }
  const double limit = 5 + 10 * 1.4826 * 2;  // deviations 4 3 2 1 0 1 2 3 4

  EXPECT_EQ(guard.judge({10, 5, limit - 1e-9, 1}), Verdict::good);
  EXPECT_EQ(guard.judge({10, 5, limit + 1e-9, 1}), Verdict::spike);
}

TEST(Guard, FlickerOfAConstantIsNoSpike) {
  Guard guard(window_of(128));
  for (std::int64_t step = 1; step <= 128; ++step) {
    guard.note({step, 5, 2, 1}, Verdict::good);
  }

  EXPECT_EQ(guard.judge({129, 5, 2.19, 1.99}), Verdict::good);
  EXPECT_EQ(guard.judge({129, 5, 2.21, 1}), Verdict::spike);
}

TEST(Guard, TenthOfANatIsNoSpikeWhereTheLossIsNearlyZero) {
  Guard guard(window_of(128));
  for (std::int64_t step = 1; step <= 128; ++step) {
    guard.note({step, 5, 1e-4, 1}, Verdict::good);
  }

  EXPECT_EQ(guard.judge({129, 5, 0.09, 1}), Verdict::good);
  EXPECT_EQ(guard.judge({129, 5, 0.2, 1}), Verdict::spike);
}

TEST(Guard, SlowDriftUpwardsIsFollowed) {
  Guard guard(window_of(128));

  for (std::int64_t step = 1; step <= 2000; ++step) {
    const double level = 1 + 0.005 * static_cast<double>(step);
    ASSERT_EQ(take(guard, {step, 5, level * (2 + 0.1 * noise(step)), level}), Verdict::good) << step;
  }
}

TEST(Guard, FewStepsAreNotJudgedUnlessNotFinite) {
  const Guard guard = after(31);

  EXPECT_EQ(guard.judge({32, 5, 100, 100}), Verdict::good);
  EXPECT_EQ(guard.judge({32, 5, nan, 1}), Verdict::not_finite);
  EXPECT_EQ(after(32).judge({33, 5, 100, 100}), Verdict::spike);
}

TEST(Guard, WithoutItThereAreNoSpikes) {
  config::GuardConfig config;
  config.enabled = false;
  const Guard guard = after(200, config);

  EXPECT_EQ(guard.judge({201, 5, 1e9, 1e9}), Verdict::good);
  EXPECT_EQ(guard.judge({201, 5, 1, HUGE_VAL}), Verdict::not_finite);
}

TEST(Guard, WhatIsNotFiniteNeverEntersTheWindow) {
  Guard guard = after(200);
  const io::CheckpointMeta before = stored(guard, 200);

  for (const StepFigures& figures : {StepFigures{201, 5, nan, 1}, {202, 5, 2, nan}, {203, 5, HUGE_VAL, HUGE_VAL}}) {
    EXPECT_EQ(take(guard, figures), Verdict::not_finite);
  }

  EXPECT_EQ(stored(guard, 203).guard.at("loss"), before.guard.at("loss"));
  EXPECT_EQ(stored(guard, 203).guard.at("gradient_norm"), before.guard.at("gradient_norm"));
  EXPECT_EQ(guard.judge({204, 5, 4, 1}), Verdict::spike);
}

TEST(Guard, SpikesThatSlippedInDoNotHideTheNext) {
  Guard guard = after(200);
  for (const std::int64_t step : {201, 202, 203, 204}) {
    guard.note({step, 5, 50, 50}, Verdict::good);
  }

  EXPECT_EQ(guard.judge({205, 5, 5, 1}), Verdict::spike);
}

TEST(Guard, NormsOfAnotherHorizonAreNotCompared) {
  const Guard guard = after(200);

  EXPECT_EQ(guard.judge({201, 6, 2, 9}), Verdict::good);
  EXPECT_EQ(guard.judge({201, 6, 4, 9}), Verdict::spike);
}

TEST(Guard, NewHorizonsNormsAreComparedAmongThemselves) {
  Guard guard = after(200);
  for (std::int64_t step = 201; step <= 240; ++step) {
    EXPECT_EQ(take(guard, {step, 6, 2, 9}), Verdict::good);
  }

  EXPECT_EQ(guard.judge({241, 6, 2, 17}), Verdict::good);
  EXPECT_EQ(guard.judge({241, 6, 2, 19}), Verdict::spike);
}

TEST(Guard, AcceptedStepEndsARowOfRefusedOnes) {
  Guard guard = after(200);

  take(guard, {201, 5, 9, 1});
  take(guard, {202, 5, 9, 1});
  take(guard, steady(203));
  take(guard, {204, 5, 9, 1});

  EXPECT_FALSE(guard.wants_rollback());
  EXPECT_EQ(guard.refused(), std::vector<std::int64_t>{204});
}

/// Cut anywhere, in the middle of refused steps too, a run decides as if it had not been cut.
TEST(Guard, StateThroughACheckpointGivesTheSameDecisions) {
  const auto figures = [](std::int64_t step) {
    StepFigures one = steady(step);
    one.horizon = step < 60 ? 4 : 5;
    one.loss *= step % 41 < 3 ? 20 : 1;  // three refused steps in a row, again and again
    one.gradient_norm *= step % 47 == 0 ? 20 : 1;
    one.gradient_norm = step % 53 == 0 ? nan : one.gradient_norm;
    return one;
  };
  const auto decisions = [&](std::int64_t cut) {
    Guard guard(window_of(32));
    std::string text;
    for (std::int64_t step = 1; step <= 300; ++step) {
      text += std::to_string(static_cast<int>(take(guard, figures(step))));
      text += guard.wants_rollback() ? "R" : "";
      if (step == cut) {
        const io::CheckpointMeta meta = stored(guard, step);
        guard = Guard(window_of(32));
        guard.restore(meta);
      }
    }
    return text;
  };
  const std::string whole = decisions(0);

  EXPECT_NE(whole.find("111R0"), std::string::npos);
  for (std::int64_t cut = 1; cut <= 300; ++cut) {
    ASSERT_EQ(decisions(cut), whole) << cut;
  }
}

TEST(Guard, RollbackPassesOverTheRefusedStepsAndAsManyBefore) {
  Guard guard = after(100);
  const io::CheckpointMeta checkpoint = stored(guard, 100);
  for (std::int64_t step = 101; step <= 110; ++step) {
    take(guard, steady(step));
  }
  for (const std::int64_t step : {111, 112, 113}) {
    take(guard, {step, 5, 9, 1});
  }
  ASSERT_TRUE(guard.wants_rollback());
  EXPECT_EQ(guard.blamed().first, 108);
  EXPECT_EQ(guard.blamed().last, 113);

  guard.roll_back(checkpoint);

  EXPECT_FALSE(guard.wants_rollback());
  EXPECT_EQ(guard.rollbacks(), 1);
  EXPECT_FALSE(guard.passes_over(107));
  EXPECT_TRUE(guard.passes_over(108) && guard.passes_over(113));
  EXPECT_FALSE(guard.passes_over(114));
  EXPECT_EQ(stored(guard, 100).guard.at("loss"), checkpoint.guard.at("loss"));
}

TEST(Guard, SecondRollbackBlamesStepsThatWereNotPassedOverYet) {
  Guard guard = after(100);
  const io::CheckpointMeta checkpoint = stored(guard, 100);
  for (const std::int64_t step : {111, 112, 113}) {
    take(guard, {step, 5, 9, 1});
  }
  guard.roll_back(checkpoint);  // passes over 108 to 113
  for (const std::int64_t step : {114, 115, 116}) {
    take(guard, {step, 5, 9, 1});
  }

  EXPECT_EQ(guard.blamed().first, 105);
}

TEST(Guard, StepsOfEarlierRollbacksStayPassedOver) {
  Guard guard = after(100);
  const io::CheckpointMeta checkpoint = stored(guard, 100);
  for (const std::int64_t first : {111, 131}) {
    for (std::int64_t step = first; step < first + 3; ++step) {
      take(guard, {step, 5, 9, 1});
    }
    guard.roll_back(checkpoint);
  }

  EXPECT_EQ(guard.rollbacks(), 2);
  EXPECT_TRUE(guard.passes_over(108) && guard.passes_over(113) && guard.passes_over(128) && guard.passes_over(133));
  EXPECT_FALSE(guard.passes_over(114) || guard.passes_over(127));
}

TEST(Guard, StepsUpToTheCheckpointCannotBePassedOver) {
  Guard guard = after(100);
  const io::CheckpointMeta checkpoint = stored(guard, 100);
  for (const std::int64_t step : {101, 102, 103}) {
    take(guard, {step, 5, 9, 1});
  }

  guard.roll_back(checkpoint);

  EXPECT_FALSE(guard.passes_over(100));
  EXPECT_TRUE(guard.passes_over(101));
}

TEST(Guard, PassedOverStepsAreStoredAsPacksOfThePlan) {
  Guard guard = after(100);
  const io::CheckpointMeta checkpoint = stored(guard, 100);
  for (const std::int64_t step : {101, 102, 103}) {
    take(guard, {step, 5, 9, 1});
  }
  guard.roll_back(checkpoint);

  const io::CheckpointMeta meta = stored(guard, 100);
  Guard again(window_of(128));
  again.restore(meta);

  EXPECT_EQ(meta.skipped_packs,
            (std::vector<std::int64_t>{400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411}));
  EXPECT_TRUE(again.passes_over(101) && again.passes_over(103));
  EXPECT_FALSE(again.passes_over(100) || again.passes_over(104));
  EXPECT_EQ(again.rollbacks(), 1);
}

TEST(Guard, DisabledOneWantsNoRollbackForStoredRefusals) {
  Guard guard = after(100);
  for (const std::int64_t step : {101, 102, 103}) {
    take(guard, {step, 5, 9, 1});
  }
  ASSERT_TRUE(guard.wants_rollback());
  config::GuardConfig config = window_of(128);
  config.enabled = false;

  Guard resumed(config);
  resumed.restore(stored(guard, 103));

  EXPECT_EQ(resumed.refused(), guard.refused());
  EXPECT_FALSE(resumed.wants_rollback());
}

}  // namespace hrm::train
