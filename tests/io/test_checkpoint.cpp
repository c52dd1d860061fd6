#include <gtest/gtest.h>

#include <numeric>

#include "base/digest.hpp"
#include "expect_error.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/checkpoint_writer.hpp"
#include "io/disk.hpp"
#include "io/integrity.hpp"
#include "io/run_files.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

class CheckpointTest : public testing::Test {
 protected:
  std::filesystem::path save(std::int64_t step) {
    const MadeState state = made_state(step);
    CheckpointWriter writer(*serial_, scratch_.path(), "run1");
    return writer.save(state.meta, state.parts(0, 1));
  }
  std::vector<std::string> names() const {
    std::vector<std::string> list;
    for (const auto& entry : std::filesystem::directory_iterator(scratch_.path())) {
      list.push_back(entry.path().filename().string());
    }
    std::sort(list.begin(), list.end());
    return list;
  }
  void flip_byte(const std::filesystem::path& path, std::size_t at) const {
    std::string bytes = file_bytes(path);
    bytes[at] = static_cast<char>(bytes[at] ^ 1);
    overwrite(path, bytes);
  }

  ScratchFolder scratch_;
  std::unique_ptr<comm::Communicator> serial_ = comm::serial_communicator();
};

TEST_F(CheckpointTest, TensorsComeBack) {
  const MadeState state = made_state(7);
  const std::filesystem::path path = save(7);

  const CheckpointReader reader(*serial_, path);

  ASSERT_EQ(reader.tensors().size(), state.paths.size());
  for (std::size_t i = 0; i < state.paths.size(); ++i) {
    const TensorInfo* tensor = reader.find(state.paths[i]);
    ASSERT_NE(tensor, nullptr);
    EXPECT_EQ(tensor->shape, state.shapes[i]);
    EXPECT_EQ(tensor->digest, digest(std::span<const float>(state.values[i])));
    std::vector<float> values(state.values[i].size());
    reader.read(state.paths[i], 0, values);
    EXPECT_EQ(values, state.values[i]);
  }
}

TEST_F(CheckpointTest, AnyRangeCanBeRead) {
  const MadeState state = made_state(7);
  const CheckpointReader reader(*serial_, save(7));
  std::vector<float> values(20);

  reader.read("/ema/embed_tokens", 100, values);

  EXPECT_EQ(values, std::vector<float>(state.values[3].begin() + 100, state.values[3].begin() + 120));
}

TEST_F(CheckpointTest, MetaComesBack) {
  const CheckpointMeta expected = made_state(7).meta;
  const CheckpointReader reader(*serial_, save(7));

  const CheckpointMeta& meta = reader.meta();

  EXPECT_EQ(meta.run_id, "run1");
  EXPECT_EQ(meta.step, 7);
  EXPECT_EQ(meta.seed, 3);
  EXPECT_EQ(meta.learning_rate, 1e-3);
  EXPECT_EQ(meta.corpus_digest, 0xFEDCBA9876543210ULL);
  EXPECT_EQ(meta.fingerprint, expected.fingerprint);
  EXPECT_EQ(meta.products, expected.products);
  EXPECT_EQ(meta.config_text, expected.config_text);
  EXPECT_EQ(meta.sampling, expected.sampling);
  EXPECT_EQ(meta.guard, expected.guard);
  EXPECT_EQ(meta.skipped_packs, expected.skipped_packs);
}

TEST_F(CheckpointTest, StepsOfTensorsComeBack) {
  const CheckpointReader reader(*serial_, save(7));

  EXPECT_EQ(reader.find("/optimizer/exp_avg/embed_tokens")->step, 41);
  EXPECT_EQ(reader.find("/model/embed_tokens")->step, -1);
}

TEST_F(CheckpointTest, StateDigestIsTheSumOverTensors) {
  const MadeState state = made_state(7);
  std::uint64_t expected = 0;
  for (std::size_t i = 0; i < state.paths.size(); ++i) {
    expected += state_digest_part(state.paths[i], digest(std::span<const float>(state.values[i])));
  }

  const CheckpointReader reader(*serial_, save(7));

  EXPECT_EQ(reader.meta().state_digest, expected);
}

TEST_F(CheckpointTest, LatestPointsToTheNewest) {
  save(7);
  save(12);

  EXPECT_EQ(std::filesystem::read_symlink(scratch_ / "latest.h5"), "step-00000012.h5");
  EXPECT_EQ(names(), (std::vector<std::string>{"latest.h5", "step-00000007.h5", "step-00000012.h5"}));
}

TEST_F(CheckpointTest, ALinkThatTurnsWhileItIsReadLeadsToOneCheckpoint) {
  save(12);
  save(7);
  const auto turn = [&] { point_latest(scratch_.path(), "step-00000012.h5"); };

  const CheckpointReader reader(*serial_, scratch_ / latest_name, turn);

  EXPECT_EQ(reader.path().filename(), "step-00000007.h5");
  EXPECT_EQ(reader.meta().step, 7);
}

TEST_F(CheckpointTest, ALinkThatLeadsNowhereIsAMissingFile) {
  point_latest(scratch_.path(), "step-00000012.h5");

  expect_error(ExitCode::no_input, latest_name, [&] { CheckpointReader(*serial_, scratch_ / latest_name); });
}

TEST_F(CheckpointTest, ANegativeCountIsRefused) {
  MadeState state = made_state(7);
  state.meta.samples_seen = -5;
  const std::filesystem::path path =
      CheckpointWriter(*serial_, scratch_.path(), "run1").save(state.meta, state.parts(0, 1));

  expect_error(ExitCode::bad_data, "samples_seen is -5", [&] { CheckpointReader(*serial_, path); });
}

TEST_F(CheckpointTest, OnlyOwnLeftoversAreRemoved) {
  overwrite(scratch_ / ".step-00000003.h5.run1.tmp", "half");
  overwrite(scratch_ / ".step-00000003.h5.run2.tmp", "half");
  std::filesystem::create_symlink("step-00000003.h5", scratch_ / ".latest.h5.new.tmp");

  const CheckpointWriter writer(*serial_, scratch_.path(), "run1");

  EXPECT_EQ(names(), std::vector<std::string>{".step-00000003.h5.run2.tmp"});
}

TEST_F(CheckpointTest, AbandonedSaveLeavesNothing) {
  const MadeState state = made_state(7);
  const std::vector<TensorPart> parts = state.parts(0, 1);
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");
  writer.begin_save(state.meta, parts);
  EXPECT_EQ(names(), std::vector<std::string>{".step-00000007.h5.run1.tmp"});

  writer.abandon();

  EXPECT_TRUE(names().empty());
}

TEST_F(CheckpointTest, PartsThatLeaveAHoleAreABug) {
  const MadeState state = made_state(7);
  std::vector<TensorPart> parts = state.parts(0, 1);
  parts[0].count -= 1;
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");

  EXPECT_THROW(writer.begin_save(state.meta, parts), InternalError);
}

TEST_F(CheckpointTest, WriterWorksAgainAfterAFailure) {
  const MadeState state = made_state(7);
  const std::vector<TensorPart> parts = state.parts(0, 1);
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");
  std::filesystem::create_directory(scratch_ / ".step-00000007.h5.run1.tmp");
  expect_error(ExitCode::cannot_create, "step-00000007", [&] { writer.save(state.meta, parts); });
  std::filesystem::remove(scratch_ / ".step-00000007.h5.run1.tmp");

  writer.save(state.meta, parts);

  EXPECT_EQ(list_checkpoints(scratch_.path()).size(), 1U);
}

TEST_F(CheckpointTest, UnknownTensorIsRefused) {
  const CheckpointReader reader(*serial_, save(7));
  std::vector<float> values(1);

  expect_error(ExitCode::bad_data, "/model/other", [&] { reader.read("/model/other", 0, values); });
}

TEST_F(CheckpointTest, ListIsNewestFirstAndHoldsFinishedFilesOnly) {
  save(7);
  save(12);
  overwrite(scratch_ / "step-x.h5", "");
  overwrite(scratch_ / ".step-00000020.h5.run1.tmp", "");

  const std::vector<CheckpointFile> files = list_checkpoints(scratch_.path());

  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].step, 12);
  EXPECT_EQ(files[1].step, 7);
}

TEST_F(CheckpointTest, NewestGoodSkipsDamagedFilesAndNamesThem) {
  save(7);
  flip_byte(save(12), 2000);

  const NewestGood found = newest_good(*serial_, scratch_.path());

  ASSERT_TRUE(found.checkpoint.has_value());
  EXPECT_EQ(found.checkpoint->meta().step, 7);
  ASSERT_EQ(found.bad.size(), 1U);
  EXPECT_NE(found.bad[0].find("step-00000012.h5"), std::string::npos);
}

TEST_F(CheckpointTest, NoCheckpointIsNone) {
  const NewestGood found = newest_good(*serial_, scratch_ / "missing");

  EXPECT_FALSE(found.checkpoint.has_value());
  EXPECT_TRUE(found.bad.empty());
}

TEST_F(CheckpointTest, DeletionKeepsLatestAndGivesTheFilesStillOpen) {
  for (const std::int64_t step : {10, 20, 25, 15}) {
    save(step);  // latest.h5 points to step 15
  }

  std::vector<std::filesystem::path> deleted;
  for (const RawFile& file : delete_checkpoints(scratch_.path(), std::vector<std::int64_t>{25, 15, 12, 10})) {
    deleted.push_back(file.path());
  }

  EXPECT_EQ(deleted,
            (std::vector<std::filesystem::path>{scratch_ / "step-00000025.h5", scratch_ / "step-00000010.h5"}));
  EXPECT_EQ(names(), (std::vector<std::string>{"latest.h5", "step-00000015.h5", "step-00000020.h5"}));
}

TEST_F(CheckpointTest, ManyPiecesOfOneTensorMakeItWhole) {
  const MadeState state = made_state(7);
  std::vector<TensorPart> pieces;
  for (const TensorPart& part : state.parts(0, 1)) {
    const std::int64_t half = part.count / 2;
    TensorPart second = part;
    second.first = half;
    second.count = part.count - half;
    second.data = part.data + half;
    pieces.push_back(second);
    pieces.push_back(part);
    pieces.back().count = half;
  }
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");
  const CheckpointReader reader(*serial_, writer.save(state.meta, pieces));
  std::vector<float> values(state.values[0].size());

  reader.read(state.paths[0], 0, values);

  EXPECT_EQ(values, state.values[0]);
}

/// Saves one matrix as slices of `size` places, a place after the other; every second one in two parts.
std::filesystem::path save_slices(comm::Communicator& group, const std::filesystem::path& folder, TensorSlice slice,
                                  const std::vector<float>& whole, int size) {
  std::vector<std::vector<float>> held;
  std::vector<TensorPart> parts;
  for (int rank = 0; rank < size; ++rank) {
    slice.place = {rank, size};
    const std::vector<float>& values = held.emplace_back(slice_values(slice, whole));
    const auto count = static_cast<std::int64_t>(values.size());
    const std::int64_t first = rank % 2 == 0 ? count : count / 3 + 1;
    parts.push_back({"/model/m", slice, 0, first, values.data()});
    parts.push_back({"/model/m", slice, first, count - first, values.data() + first});
  }
  return CheckpointWriter(group, folder, "run1").save(made_state(7).meta, parts);
}

std::vector<TensorSlice> all_cuts(std::int64_t rows, std::int64_t columns) {
  return {{{rows, columns}, TensorSplit::rows, 1, {}},
          {{rows, columns}, TensorSplit::columns, 1, {}},
          {{rows, columns}, TensorSplit::row_blocks, 4, {}},
          {{rows, columns}, TensorSplit::row_blocks, 2, {}}};
}

std::vector<float> counted(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0.0F);
  return values;
}

TEST_F(CheckpointTest, SlicesMakeATensorWhole) {
  const std::vector<float> whole = counted(24 * 12);
  for (const TensorSlice& cut : all_cuts(24, 12)) {
    for (const int size : {1, 2, 3, 6}) {
      const CheckpointReader reader(*serial_, save_slices(*serial_, scratch_.path(), cut, whole, size));
      std::vector<float> values(whole.size());

      reader.read("/model/m", 0, values);

      EXPECT_EQ(reader.find("/model/m")->shape, cut.logical_shape);
      EXPECT_EQ(reader.find("/model/m")->digest, digest(std::span<const float>(whole)));
      EXPECT_EQ(values, whole);
    }
  }
}

TEST_F(CheckpointTest, AnyRangeOfAnySliceCanBeRead) {
  const std::vector<float> whole = counted(24 * 12);
  for (TensorSlice slice : all_cuts(24, 12)) {
    const CheckpointReader reader(*serial_, save_slices(*serial_, scratch_.path(), slice, whole, 1));
    for (const int size : {1, 2, 3, 6}) {
      slice.place = {size - 1, size};
      const std::vector<float> held = slice_values(slice, whole);
      for (std::size_t first = 0; first <= held.size(); first += 5) {
        std::vector<float> values((held.size() - first) / 2);
        reader.read("/model/m", slice, static_cast<std::int64_t>(first), values);
        ASSERT_TRUE(std::equal(values.begin(), values.end(), held.begin() + static_cast<std::ptrdiff_t>(first)));
      }
    }
  }
}

TEST_F(CheckpointTest, ColumnsOfManyBlocksCanBeRead) {
  const std::vector<float> whole = counted(5000 * 1000);  // 19 MiB, read in pieces of 8
  TensorSlice slice{{5000, 1000}, TensorSplit::columns, 1, {}};
  const CheckpointReader reader(*serial_, save_slices(*serial_, scratch_.path(), slice, whole, 1));
  slice.place = {3, 4};
  std::vector<float> values(5000 * 250 - 7);

  reader.read("/model/m", slice, 7, values);

  const std::vector<float> held = slice_values(slice, whole);
  EXPECT_TRUE(std::equal(values.begin(), values.end(), held.begin() + 7));
}

TEST_F(CheckpointTest, SliceOfAnotherShapeIsRefusedWithBothShapes) {
  const CheckpointReader reader(*serial_, save(7));
  std::vector<float> values(1);

  const TensorSlice slice{{9, 17}, TensorSplit::rows, 1, {0, 3}};
  expect_error(ExitCode::bad_data, "step-00000007.h5: /ema/embed_tokens has shape [17, 9], expected [9, 17]",
               [&] { reader.read("/ema/embed_tokens", slice, 0, values); });
}

TEST_F(CheckpointTest, ReadBeyondASliceIsABug) {
  const CheckpointReader reader(*serial_, save(7));
  std::vector<float> values(17 * 3 + 1);

  const TensorSlice slice{{17, 9}, TensorSplit::columns, 1, {0, 3}};
  EXPECT_THROW(reader.read("/ema/embed_tokens", slice, 0, values), InternalError);
}

}  // namespace
}  // namespace hrm::io
