#include "model/tensor_group.hpp"

#include <gtest/gtest.h>

namespace hrm::model {
namespace {

TEST(TensorGroup, SharesFollowEachOtherAndDifferByAtMostOneRow) {
  for (const std::int64_t rows : {35, 36, 2}) {
    std::int64_t next = 0;
    for (int rank = 0; rank < 4; ++rank) {
      const auto group = comm::pretend_communicator(rank, 4);
      const RowShare share = TensorGroup<float>({group.get(), true}, 36, 8).share(rows);

      EXPECT_EQ(share.first, next);
      EXPECT_EQ(share.all, rows);
      EXPECT_GE(share.own, rows / 4);
      EXPECT_LE(share.own, rows / 4 + 1);
      next += share.own;
    }
    EXPECT_EQ(next, rows);
  }
}

TEST(TensorGroup, WithoutSequenceParallelismEveryRankHasAllRows) {
  const auto communicator = comm::pretend_communicator(2, 3);
  TensorGroup<float> group({communicator.get(), false}, 10, 4);
  std::vector<float> state(40);

  EXPECT_EQ(group.share(10).own, 10);
  EXPECT_EQ(group.gather(Stream{}, Matrix<const float>(state.data(), 10, 4), 10).data, state.data());
}

TEST(TensorGroup, AloneItCopiesNothingAndTakesNoMemory) {
  const std::size_t memory = memory_bytes_total();
  const auto communicator = comm::serial_communicator();
  TensorGroup<float> group({communicator.get(), true}, 10, 4);
  std::vector<float> state(40);

  EXPECT_TRUE(group.alone());
  EXPECT_EQ(group.gather(Stream{}, Matrix<const float>(state.data(), 10, 4), 10).data, state.data());
  EXPECT_EQ(memory_bytes_total(), memory);
}

}  // namespace
}  // namespace hrm::model
