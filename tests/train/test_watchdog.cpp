#include "train/watchdog.hpp"

#include <gtest/gtest.h>

namespace hrm::train {
namespace {

config::WatchdogConfig ten_seconds() {
  config::WatchdogConfig config;
  config.least_seconds = 10;
  config.factor = 5;
  return config;
}

TEST(SectionLimits, ASectionNeverSeenMayTakeLonger) {
  EXPECT_EQ(SectionLimits(ten_seconds()).limit("save"), 60);
}

TEST(SectionLimits, LearnTheLongestTimeOfEachSection) {
  SectionLimits limits(ten_seconds());
  limits.took("compute", 1);
  limits.took("save", 30);
  limits.took("save", 4);

  EXPECT_EQ(limits.limit("compute"), 10);
  EXPECT_EQ(limits.limit("save"), 150);
}

TEST(Watchdog, NamesWhoWaitsWhereAndWhoIsSilent) {
  const std::string text =
      Watchdog::describe({"in reduce of step 7 for 12 s, last in MPI_Waitall (operation 3)", ""}, {"node1", "node2"});

  EXPECT_EQ(text,
            "no progress: no word from rank 1 on node2\n  rank 0 on node1 waits in reduce of step 7 for 12 s, last in "
            "MPI_Waitall (operation 3)");
}

TEST(Watchdog, SuspectsEachSilentHostOnce) {
  EXPECT_EQ(Watchdog::silent_hosts({"", "in load", "", ""}, {"b", "b", "a", "b"}), "a,b");
}

}  // namespace
}  // namespace hrm::train
