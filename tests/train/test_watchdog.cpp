#include "train/watchdog.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "comm/activity.hpp"

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
  for (const char* section : {"compute", "save"}) {
    limits.left(section);
  }
  limits.took("compute", 1);
  limits.took("save", 30);
  limits.took("save", 4);

  EXPECT_EQ(limits.limit("compute"), 10);
  EXPECT_EQ(limits.limit("save"), 150);
}

TEST(SectionLimits, OfASectionThatWasNeverLeftLittleIsKnown) {
  SectionLimits limits(ten_seconds());

  limits.took("start", 1);

  EXPECT_EQ(limits.limit("start"), 60);
}

TEST(SectionLimits, WaitLongerForADisk) {
  SectionLimits limits(ten_seconds());
  limits.left("save");
  {
    const comm::LongCall call;
    EXPECT_EQ(limits.limit("save"), 100);
  }
  EXPECT_EQ(limits.limit("save"), 10);
}

TEST(Watchdog, NamesWhoWaitsWhereAndWhoIsSilent) {
  const std::string text = Watchdog::describe(
      {{true, "in reduce of step 7 for 12 s, last in MPI_Waitall (operation 3)"}, {}, {false, "in load of step 8"}},
      {"node1", "node2", "node3"});

  EXPECT_EQ(text,
            "no progress: no word from rank 1 on node2\n  rank 0 on node1 waits in reduce of step 7 for 12 s, last in "
            "MPI_Waitall (operation 3)\n  rank 2 on node3 is in load of step 8");
}

TEST(Watchdog, SuspectsEachSilentHostOnce) {
  EXPECT_EQ(Watchdog::silent_hosts({{}, {true, "in load"}, {}, {}}, {"b", "b", "a", "b"}), "a,b");
}

/// Two ranks' ends of a roll call in a scratch folder.
class RollCallTest : public testing::Test {
 protected:
  ~RollCallTest() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("roll-{}", ::getpid());
  RollCall first_{folder_, "token", 0, 2};
  RollCall second_{folder_, "token", 1, 2};
};

TEST_F(RollCallTest, AnswersReachTheOneWhoAsks) {
  EXPECT_FALSE(second_.is_open());
  EXPECT_TRUE(first_.ask());
  first_.answer({true, "in update of step 3"});
  EXPECT_TRUE(second_.is_open());
  EXPECT_TRUE(first_.answers()[1].text.empty()) << "no word yet";

  second_.answer({false, "in save of step 3"});

  const std::vector<Answer> answers = first_.answers();
  EXPECT_TRUE(answers[0].waits);
  EXPECT_FALSE(answers[1].waits);
  EXPECT_EQ(answers[1].text, "in save of step 3");
}

TEST_F(RollCallTest, OldAnswersAreNotHeardAgain) {
  first_.ask();
  second_.answer({false, "in save of step 3"});
  first_.close();
  second_.answer({false, "too late"});

  first_.ask();

  EXPECT_TRUE(first_.answers()[1].text.empty());
}

TEST_F(RollCallTest, OneRankSpeaks) {
  first_.ask();

  EXPECT_TRUE(second_.claim_word());

  EXPECT_FALSE(first_.claim_word());
  EXPECT_TRUE(first_.word_is_taken());
}

TEST_F(RollCallTest, WithoutAFolderEveryRankSpeaks) {
  std::ofstream(folder_) << "a file is in the way";

  EXPECT_FALSE(first_.ask());

  EXPECT_TRUE(first_.claim_word() && second_.claim_word());
}

TEST_F(RollCallTest, QuestionsOfEarlierStartsAreDeleted) {
  first_.ask();
  const RollCall earlier(folder_, "another", 0, 2);
  earlier.ask();

  delete_roll_calls(folder_, "token");

  EXPECT_FALSE(earlier.is_open());
  EXPECT_TRUE(first_.is_open());
}

}  // namespace
}  // namespace hrm::train
