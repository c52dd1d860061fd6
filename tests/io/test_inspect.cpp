#include "io/inspect.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/digest.hpp"
#include "expect_error.hpp"
#include "io/hdf5.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

class InspectTest : public testing::Test {
 protected:
  std::filesystem::path save(const std::string& run, const MadeState& state) {
    CheckpointWriter writer(*serial_, scratch_ / run, run);
    return writer.save(state.meta, state.parts(0, 1));
  }
  ScratchFolder scratch_;
  std::unique_ptr<comm::Communicator> serial_ = comm::serial_communicator();
};

TEST_F(InspectTest, DescribesACheckpoint) {
  const nlohmann::ordered_json description = describe(save("a", made_state(7)));

  EXPECT_EQ(description["format"], "hrm-checkpoint");
  EXPECT_EQ(description["state"]["step"], 7);
  EXPECT_EQ(description["state"]["corpus_digest"], "fedcba9876543210");
  EXPECT_NE(describe_text(description).find("/model/embed_tokens"), std::string::npos);
}

TEST_F(InspectTest, DescribesAShard) {
  const CorpusInfo info = write_made_corpus(*serial_, scratch_.path(), 20, 300, 1000);

  const nlohmann::ordered_json description = describe(scratch_ / "shard-00000.h5");

  EXPECT_EQ(description["attributes"]["n_samples"], 20);
  EXPECT_EQ(description["file_digest"], hex(info.shards[0].file_digest));
}

TEST_F(InspectTest, VerifyCountsDatasets) {
  write_made_corpus(*serial_, scratch_.path(), 20, 300, 1000);

  EXPECT_EQ(verify_file(scratch_ / "shard-00000.h5"), 6);
}

TEST_F(InspectTest, VerifyNamesTheDamagedDataset) {
  const std::filesystem::path path = save("a", made_state(7));
  std::int64_t at = 0;
  { at = h5::File::open(path).open_dataset("/ema/H.layers.0.o").offset() + 5; }
  std::string bytes = file_bytes(path);
  bytes[static_cast<std::size_t>(at)] ^= 1;
  overwrite(path, bytes);

  expect_error(ExitCode::bad_data, "/ema/H.layers.0.o", [&] { verify_file(path); });
}

TEST_F(InspectTest, MissingFileIsMissingInput) {
  expect_error(ExitCode::no_input, "nothing.h5", [&] { describe(scratch_ / "nothing.h5"); });
}

TEST_F(InspectTest, SameStateOfTwoRunsIsTheSame) {
  MadeState other = made_state(7);
  other.meta.wall_seconds = 99;
  other.meta.config_text = "[train]\n";

  const Comparison comparison = compare_files(save("a", made_state(7)), save("b", other));

  EXPECT_TRUE(comparison.same);
  ASSERT_EQ(comparison.differences.size(), 1U);
  EXPECT_EQ(comparison.differences[0].path, "/config");
}

TEST_F(InspectTest, LargestDifferenceIsTold) {
  MadeState other = made_state(7);
  other.values[0][3] += 0.5F;

  const Comparison comparison = compare_files(save("a", made_state(7)), save("b", other));

  EXPECT_FALSE(comparison.same);
  ASSERT_EQ(comparison.differences.size(), 1U);
  EXPECT_EQ(comparison.differences[0].path, other.paths[0]);
  EXPECT_EQ(comparison.differences[0].count, 1);
  EXPECT_NEAR(comparison.differences[0].largest, 0.5, 1e-6);
}

TEST_F(InspectTest, SignOfZeroIsADifference) {
  MadeState first = made_state(7);
  MadeState other = made_state(7);
  first.values[0][3] = 0.0F;
  other.values[0][3] = -0.0F;

  EXPECT_FALSE(compare_files(save("a", first), save("b", other)).same);
}

TEST_F(InspectTest, NanIsNotHidden) {
  MadeState other = made_state(7);
  other.values[0][3] = NAN;

  const Comparison comparison = compare_files(save("a", made_state(7)), save("b", other));

  ASSERT_EQ(comparison.differences.size(), 1U);
  EXPECT_TRUE(std::isnan(comparison.differences[0].largest));
}

TEST_F(InspectTest, GuardStateCounts) {
  MadeState other = made_state(7);
  other.meta.guard["loss"][0] = 1;

  EXPECT_FALSE(compare_files(save("a", made_state(7)), save("b", other)).same);
}

TEST_F(InspectTest, StepOfATensorCounts) {
  const MadeState state = made_state(7);
  std::vector<TensorPart> parts = state.parts(0, 1);
  parts[1].step = 40;
  CheckpointWriter writer(*serial_, scratch_ / "b", "b");

  const Comparison comparison = compare_files(save("a", state), writer.save(state.meta, parts));

  EXPECT_FALSE(comparison.same);
  ASSERT_EQ(comparison.differences.size(), 1U);
  EXPECT_EQ(comparison.differences[0].what, "step attribute");
}

TEST_F(InspectTest, OneTensorMoreCounts) {
  MadeState other = made_state(7);
  other.paths.pop_back();

  const Comparison comparison = compare_files(save("a", made_state(7)), save("b", other));

  EXPECT_FALSE(comparison.same);
  ASSERT_EQ(comparison.differences.size(), 1U);
  EXPECT_EQ(comparison.differences[0].path, "/model/zL_init");
}

TEST_F(InspectTest, TwoKindsOfFilesAreNotCompared) {
  write_made_corpus(*serial_, scratch_.path(), 20, 300, 1000);

  expect_error(ExitCode::bad_data, "one kind",
               [&] { compare_files(scratch_ / "corpus.h5", scratch_ / "shard-00000.h5"); });
}

}  // namespace
}  // namespace hrm::io
