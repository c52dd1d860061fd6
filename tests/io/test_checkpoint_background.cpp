// Saves in the background: the same file as a save at once, whatever happens to the sources after their release.
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <numeric>

#include "base/buffer.hpp"
#include "expect_error.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/checkpoint_writer.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

/// Ends a save as a training loop does.
std::filesystem::path end_save(CheckpointWriter& writer) {
  bool finished = false;
  while (!finished) {
    finished = writer.ready() && writer.advance();
  }
  return writer.commit();
}

class BackgroundSaveTest : public testing::Test {
 protected:
  bool empty() const { return std::filesystem::is_empty(scratch_.path()); }

  ScratchFolder scratch_;
  std::unique_ptr<comm::Communicator> serial_ = comm::serial_communicator();
};

TEST_F(BackgroundSaveTest, GivesTheBytesOfASaveAtOnce) {
  const MadeState state = made_state(7);
  CheckpointWriter at_once(*serial_, scratch_ / "at-once", "run1");
  CheckpointWriter behind(*serial_, scratch_ / "behind", "run1", 1 << 20);
  std::string expected;
  std::string found;
  // created_at is the only difference, in seconds: try until both saves are of the same one.
  for (int attempt = 0; attempt < 20 && (expected.empty() || found != expected); ++attempt) {
    expected = file_bytes(at_once.save(state.meta, state.parts(0, 1)));
    MadeState changing = state;
    behind.begin_save(changing.meta, changing.parts(0, 1));
    behind.release_sources();
    for (std::vector<float>& values : changing.values) {
      std::fill(values.begin(), values.end(), -1.0F);
    }
    found = file_bytes(end_save(behind));
  }

  EXPECT_TRUE(found == expected);
  EXPECT_EQ(behind.state_digest(), at_once.state_digest());
}

TEST_F(BackgroundSaveTest, OverwrittenSourcesOfManyChunksStayOut) {
  const TensorSlice slice{{3000, 3000}, TensorSplit::none, 1, {}};
  std::vector<float> values(3000 * 3000);  // 34 MiB
  std::vector<float> expected(values.size());
  std::iota(expected.begin(), expected.end(), 0.0F);
  const std::vector<TensorPart> parts = {{"/model/m", slice, 0, std::ssize(values), values.data()}};
  for (const std::int64_t staging : {std::int64_t{0}, std::int64_t{1} << 20, std::int64_t{1} << 30}) {
    values = expected;
    CheckpointWriter writer(*serial_, scratch_.path(), "run1", staging);

    writer.begin_save(made_state(7).meta, parts);
    writer.release_sources();
    std::fill(values.begin(), values.end(), -1.0F);

    const CheckpointReader reader(*serial_, end_save(writer));
    std::vector<float> read(values.size());
    reader.read("/model/m", 0, read);
    EXPECT_EQ(read, expected) << staging;
  }
}

TEST_F(BackgroundSaveTest, MemoryTakenBeforehandServesTheFirstSave) {
  const MadeState state = made_state(7);
  CheckpointWriter writer(*serial_, scratch_.path(), "run1", 1 << 20);
  writer.prepare(state.parts(0, 1));
  const std::size_t before = memory_bytes_total();

  MadeState changing = state;
  writer.begin_save(changing.meta, changing.parts(0, 1));
  writer.release_sources();
  EXPECT_EQ(memory_bytes_total(), before);
  for (std::vector<float>& values : changing.values) {
    std::fill(values.begin(), values.end(), -1.0F);
  }

  const CheckpointReader reader(*serial_, end_save(writer));
  for (std::size_t i = 0; i < state.paths.size(); ++i) {
    std::vector<float> read(state.values[i].size());
    reader.read(state.paths[i], 0, read);
    EXPECT_EQ(read, state.values[i]) << state.paths[i];
  }
}

TEST_F(BackgroundSaveTest, DeletedFilesAreClosedBeforeTheNextSaveBegins) {
  const MadeState state = made_state(7);
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  std::vector<RawFile> files;
  files.push_back(RawFile(fmt::format("/proc/self/fd/{}", pipe[1]), RawFile::Mode::append));
  ::close(pipe[1]);

  writer.close_behind(std::move(files));
  writer.begin_save(state.meta, state.parts(0, 1));

  char byte;
  EXPECT_EQ(::read(pipe[0], &byte, 1), 0);  // nobody holds the pipe open for writing; would wait otherwise
  ::close(pipe[0]);
  EXPECT_TRUE(std::filesystem::exists(end_save(writer)));
}

TEST_F(BackgroundSaveTest, SlicesAreStagedTooWhole) {
  const TensorSlice whole{{24, 12}, TensorSplit::columns, 1, {}};
  std::vector<float> expected(24 * 12);
  std::iota(expected.begin(), expected.end(), 0.0F);
  std::vector<std::vector<float>> held;
  std::vector<TensorPart> parts;
  for (int rank = 0; rank < 3; ++rank) {
    TensorSlice slice = whole;
    slice.place = {rank, 3};
    held.push_back(slice_values(slice, expected));
    parts.push_back({"/model/m", slice, 0, std::ssize(held.back()), held.back().data()});
  }
  CheckpointWriter writer(*serial_, scratch_.path(), "run1", 1 << 20);

  writer.begin_save(made_state(7).meta, parts);
  writer.release_sources();
  for (std::vector<float>& values : held) {
    std::fill(values.begin(), values.end(), -1.0F);
  }

  const CheckpointReader reader(*serial_, end_save(writer));
  std::vector<float> read(expected.size());
  reader.read("/model/m", 0, read);
  EXPECT_EQ(read, expected);
}

TEST_F(BackgroundSaveTest, FailedWriteIsThrownByTheNextStepAndLeavesNothing) {
  const MadeState state = made_state(7);
  const Unreadable bad;
  std::vector<TensorPart> parts = state.parts(0, 1);
  parts[3].data = bad.data();
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");
  writer.begin_save(state.meta, parts);

  writer.release_sources();
  expect_error(ExitCode::io_error, ".step-00000007.h5.run1.tmp: cannot write", [&] { writer.advance(); });

  EXPECT_FALSE(writer.saving());
  EXPECT_TRUE(empty());
  EXPECT_TRUE(std::filesystem::exists(writer.save(state.meta, state.parts(0, 1))));
}

TEST_F(BackgroundSaveTest, FileThatMayNotGrowIsAnIoError) {
  const MadeState state = made_state(7);
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");
  {
    const FileSizeLimit limit(4096);
    expect_error(ExitCode::io_error, "step-00000007.h5", [&] { writer.save(state.meta, state.parts(0, 1)); });
  }
  EXPECT_TRUE(empty());

  const std::filesystem::path path = writer.save(state.meta, state.parts(0, 1));

  EXPECT_EQ(CheckpointReader(*serial_, path).meta().step, 7);
}

TEST_F(BackgroundSaveTest, AbandonedInEveryPhaseLeavesNothing) {
  const MadeState state = made_state(7);
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");
  for (int advances = 0; advances <= 2; ++advances) {
    writer.begin_save(state.meta, state.parts(0, 1));
    for (int i = 0; i < advances; ++i) {
      writer.advance();
    }

    writer.abandon();

    EXPECT_FALSE(writer.saving());
    EXPECT_TRUE(empty()) << advances;
  }
}

TEST_F(BackgroundSaveTest, NothingIsReadyWithoutASave) {
  CheckpointWriter writer(*serial_, scratch_.path(), "run1");

  writer.release_sources();

  EXPECT_FALSE(writer.ready());
  EXPECT_THROW(writer.commit(), InternalError);
}

}  // namespace
}  // namespace hrm::io
