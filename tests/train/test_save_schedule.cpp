#include <gtest/gtest.h>

#include <cmath>

#include "base/error.hpp"
#include "train/save_schedule.hpp"

namespace hrm::train {
namespace {

constexpr double hour = 3600;

SaveSchedule automatic() {
  config::CheckpointConfig config;
  config.interval_minutes = "auto";
  return SaveSchedule(config);
}

TEST(SaveSchedule, StepsAreMultiplesAndZeroMinutesIsNever) {
  config::CheckpointConfig config;
  config.interval_steps = 10;
  config.interval_minutes = "0";
  const SaveSchedule schedule(config);

  EXPECT_TRUE(schedule.due_by_steps(20));
  EXPECT_FALSE(schedule.due_by_steps(21));
  EXPECT_FALSE(schedule.due_by_time());
}

TEST(SaveSchedule, NonsenseIsRefusedWithItsName) {
  config::CheckpointConfig config;
  config.interval_minutes = "soon";
  EXPECT_THROW(SaveSchedule{config}, InputError);
}

TEST(SaveSchedule, FixedMinutesDoNotDependOnCosts) {
  config::CheckpointConfig config;
  config.interval_minutes = "2.5";
  SaveSchedule schedule(config);

  schedule.saved(100, 1000);

  EXPECT_EQ(schedule.interval_seconds(), 150);
}

TEST(SaveSchedule, FirstIntervalIsOfEightHoursBetweenFailures) {
  SaveSchedule schedule = automatic();

  schedule.saved(2, 0);

  EXPECT_NEAR(schedule.interval_seconds(), std::sqrt(2 * 2 * 8 * hour), 1);
}

TEST(SaveSchedule, WorkInTheBackgroundCountsATenth) {
  SaveSchedule schedule = automatic();

  schedule.saved(1, 30);

  EXPECT_NEAR(schedule.interval_seconds(), std::sqrt(2 * 4 * 8 * hour), 1);
}

TEST(SaveSchedule, ReservesForASlowDiskUntilASaveIsMeasured) {
  SaveSchedule schedule = automatic();
  schedule.expect(20'000'000'000);
  EXPECT_EQ(schedule.reserve_seconds(), 5 + 200);

  schedule.saved(1, 30);

  EXPECT_EQ(schedule.reserve_seconds(), 2 * 31);  // the last save hides nothing
}

TEST(SaveSchedule, RestartsThatLostStepsShortenTheInterval) {
  SaveSchedule schedule = automatic();
  schedule.saved(2, 0);

  schedule.set_record({12 * hour, 4});
  EXPECT_NEAR(schedule.interval_seconds(), std::sqrt(2 * 2 * (8 + 12) * hour / 5), 1);

  schedule.set_record({92 * hour, 0});
  EXPECT_NEAR(schedule.interval_seconds(), std::sqrt(2 * 2 * 100 * hour), 1);
}

}  // namespace
}  // namespace hrm::train
