#include "io/state_digest.hpp"

#include <gtest/gtest.h>

#include "expect_error.hpp"
#include "io/checkpoint_writer.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

class StateDigestTest : public testing::Test {
 protected:
  CheckpointReader saved() {
    CheckpointWriter writer(*serial_, scratch_.path(), "run1");
    return {*serial_, writer.save(state_.meta, state_.parts(0, 1))};
  }

  ScratchFolder scratch_;
  std::unique_ptr<comm::Communicator> serial_ = comm::serial_communicator();
  MadeState state_ = made_state(7);
};

TEST_F(StateDigestTest, IsThatOfTheCheckpoint) {
  const CheckpointReader checkpoint = saved();

  EXPECT_EQ(state_digest(*serial_, state_.parts(0, 1)), checkpoint.meta().state_digest);
}

TEST_F(StateDigestTest, DoesNotDependOnHowTensorsAreCut) {
  const std::uint64_t whole = state_digest(*serial_, state_.parts(0, 1));
  std::vector<TensorPart> shares;
  for (const int rank : {0, 1, 2}) {
    const std::vector<TensorPart> more = state_.parts(rank, 3);
    shares.insert(shares.end(), more.begin(), more.end());
  }

  EXPECT_EQ(state_digest(*serial_, shares), whole);
}

TEST_F(StateDigestTest, DoesNotDependOnSlices) {
  const std::vector<std::int64_t> shape{12, 8};
  std::vector<float> values;
  for (int i = 0; i < 96; ++i) {
    values.push_back(static_cast<float>(i));
  }
  const TensorPart whole{"/model/w", {shape, TensorSplit::none, 1, {}}, 0, 96, values.data()};

  for (const TensorSplit split : {TensorSplit::rows, TensorSplit::columns, TensorSplit::row_blocks}) {
    std::vector<std::vector<float>> held;
    std::vector<TensorPart> parts;
    for (const int rank : {0, 1}) {
      const TensorSlice slice{shape, split, split == TensorSplit::row_blocks ? 3 : 1, {rank, 2}};
      held.push_back(slice_values(slice, values));
      parts.push_back({"/model/w", slice, 0, 48, held.back().data()});
    }
    EXPECT_EQ(tensor_digests(*serial_, parts), tensor_digests(*serial_, std::span(&whole, 1)));
  }
}

TEST_F(StateDigestTest, WhatWasStoredIsAcceptedAndOneBitOffIsNamed) {
  const CheckpointReader checkpoint = saved();
  check_restored(*serial_, checkpoint, state_.parts(0, 1));

  float& value = state_.values[1][5];
  value = -value;

  expect_error(ExitCode::bad_data, state_.paths[1], [&] { check_restored(*serial_, checkpoint, state_.parts(0, 1)); });
}

TEST_F(StateDigestTest, PartsThatWereStartedAnewAreLeftOut) {
  const CheckpointReader checkpoint = saved();
  std::vector<TensorPart> parts = state_.parts(0, 1);
  parts[0].path = "/ema/of_another_kind";

  EXPECT_NO_THROW(check_restored(*serial_, checkpoint, parts));
}

TEST_F(StateDigestTest, FewerPartsThanStoredAreAccepted) {
  const CheckpointReader checkpoint = saved();
  std::vector<TensorPart> parts = state_.parts(0, 1);
  parts.pop_back();

  EXPECT_NO_THROW(check_restored(*serial_, checkpoint, parts));
}

}  // namespace
}  // namespace hrm::io
