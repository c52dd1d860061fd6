#include "app/threads.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace hrm::app {
namespace {

using Masks = std::vector<std::string>;

TEST(Threads, RanksWithTheSameCoresShareThem) {
  const Masks masks{"11110000", "11110000", "00001110"};

  EXPECT_EQ(share_of_cores(masks, 0), 2);
  EXPECT_EQ(share_of_cores(masks, 1), 2);
  EXPECT_EQ(share_of_cores(masks, 2), 3);
}

TEST(Threads, MoreRanksThanCoresHaveOneEach) {
  const Masks masks{"10", "10", "10"};

  EXPECT_EQ(share_of_cores(masks, 2), 1);
}

TEST(Threads, OverlappingCoresCountOnce) {
  const Masks masks{"1100", "0110"};

  EXPECT_EQ(cores_of_all(masks), 3);
}

}  // namespace
}  // namespace hrm::app
