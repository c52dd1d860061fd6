#include <gtest/gtest.h>

#include <cstdlib>

#include "base/error.hpp"
#include "train/time_limit.hpp"

namespace hrm::train {

TEST(TimeLimit, SecondsAndClockTextsCountFromNow) {
  EXPECT_EQ(parse_end_time("90", 1000), 1090);
  EXPECT_EQ(parse_end_time("01:00:05", 1000), 4605);
  EXPECT_EQ(parse_end_time("2-00:00:00", 1000), 173800);
}

TEST(TimeLimit, EndTimeIsLocal) {
  const char* before = std::getenv("TZ");
  const std::string kept = before == nullptr ? "" : before;
  setenv("TZ", "UTC", 1);
  tzset();

  EXPECT_EQ(parse_end_time("2026-01-02T03:04:05", 0), 1767323045);

  before == nullptr ? unsetenv("TZ") : setenv("TZ", kept.c_str(), 1);
  tzset();
}

TEST(TimeLimit, AnythingElseIsRefused) {
  for (const char* text : {"tomorrow", "12:30", "-5", "1:2:3x", "2026-01-02", "-1-00:00:00", "2026-13-45T99:99:99",
                           "2026-02-30T00:00:00", "2026-01-02T24:00:00", "2026-01-02T03:60:00"}) {
    EXPECT_THROW(parse_end_time(text, 0), InputError) << text;
  }
}

TEST(TimeLimit, ConfigurationWinsOverTheBatchSystem) {
  setenv("SLURM_JOB_END_TIME", "2000000000", 1);

  EXPECT_EQ(find_time_limit("")->end_time, 2000000000);
  EXPECT_EQ(find_time_limit("60")->source, "run.time_limit");

  unsetenv("SLURM_JOB_END_TIME");
  EXPECT_FALSE(find_time_limit("").has_value());
}

TEST(TimeLimit, VariableThatIsNoTimeIsIgnoredWithAWarning) {
  for (const char* name : {"HRM_RUN_TIME_LIMIT", "SLURM_JOB_END_TIME"}) {
    setenv(name, "NONE", 1);
    testing::internal::CaptureStderr();

    EXPECT_FALSE(find_time_limit("").has_value());

    EXPECT_NE(testing::internal::GetCapturedStderr().find(std::string(name) + " = NONE"), std::string::npos);
    unsetenv(name);
  }
}

}  // namespace hrm::train
