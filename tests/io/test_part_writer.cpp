#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "base/digest.hpp"
#include "expect_error.hpp"
#include "io/background.hpp"
#include "io/part_writer.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t columns = 1000;
constexpr std::int64_t rows = 6000;  // 23 MiB: several chunks

/// One matrix in two parts, the second of them first, and an empty one between them.
class PartWriterTest : public testing::Test {
 protected:
  PartWriterTest() : source_(static_cast<std::size_t>(rows * columns)) {
    std::iota(source_.begin(), source_.end(), 0.0F);
    expected_ = source_;
    RawFile(path(), RawFile::Mode::create).truncate(bytes());
  }
  std::filesystem::path path() const { return scratch_ / "parts"; }
  static std::int64_t bytes() { return rows * columns * static_cast<std::int64_t>(sizeof(float)); }

  std::vector<PlacedPart> parts() const {
    const TensorSlice slice{{rows, columns}, TensorSplit::none, 1, {}};
    const std::int64_t first = rows / 3 * columns + 17;
    return {{{"/model/m", slice, first, rows * columns - first, source_.data() + first}},
            {{"/model/m", slice, 0, 0, nullptr}},
            {{"/model/m", slice, 0, first, source_.data()}}};
  }
  PartWriter writer(std::span<float> staging, const std::filesystem::path& file) const {
    return PartWriter(BlockFile(file, {}), parts(), 1, staging);
  }
  std::vector<float> written() const {
    std::vector<float> values(source_.size());
    RawFile(path(), RawFile::Mode::read).read_at(0, std::as_writable_bytes(std::span(values)));
    return values;
  }

  ScratchFolder scratch_;
  std::vector<float> source_;
  std::vector<float> expected_;
};

TEST_F(PartWriterTest, WritesEveryPartToItsPlaceAndDigestsIt) {
  PartWriter writer = this->writer({}, path());

  writer.run();

  EXPECT_EQ(written(), expected_);
  EXPECT_EQ(writer.digests(), std::vector<std::uint64_t>{digest(std::span<const float>(expected_))});
}

TEST_F(PartWriterTest, WhatChangesAfterTheReleaseDoesNotReachTheFile) {
  for (const std::int64_t room : {std::int64_t{0}, std::int64_t{1}, columns * rows / 3, columns * rows}) {
    std::iota(source_.begin(), source_.end(), 0.0F);
    RawFile(path(), RawFile::Mode::create).truncate(bytes());
    std::vector<float> staging(static_cast<std::size_t>(room));
    PartWriter writer = this->writer(staging, path());
    BackgroundThread thread;
    thread.start([&] { writer.run(); });

    writer.release_sources();
    std::fill(source_.begin(), source_.end(), -1.0F);
    writer.release_sources();  // again: changes nothing
    thread.wait();

    EXPECT_EQ(written(), expected_) << room;
    EXPECT_EQ(writer.digests().front(), digest(std::span<const float>(expected_))) << room;
  }
}

TEST_F(PartWriterTest, ReleaseWaitsForTheChunkThatIsBeingWritten) {
  constexpr std::int64_t count = std::int64_t{1} << 20;  // one chunk
  std::vector<float> values(count);
  std::vector<float> staging(count);
  const std::uint64_t expected = digest(std::span<const float>(expected_).first(count));
  for (int trial = 0; trial < 40; ++trial) {
    std::copy_n(expected_.begin(), count, values.begin());
    const PlacedPart part{{"/model/m", {{count}, TensorSplit::none, 1, {}}, 0, count, values.data()}};
    PartWriter writer(BlockFile(path(), {}), {part}, 1, staging);
    BackgroundThread thread;
    thread.start([&] { writer.run(); });
    std::this_thread::sleep_for(std::chrono::microseconds(50 * trial));

    writer.release_sources();
    std::fill(values.begin(), values.end(), -1.0F);
    thread.wait();

    ASSERT_EQ(writer.digests().front(), expected) << trial;
  }
}

TEST_F(PartWriterTest, FullDiskIsReportedAndReleasesTheSources) {
  std::vector<float> staging(1000);
  PartWriter writer = this->writer(staging, "/dev/full");
  BackgroundThread thread;
  thread.start([&] { writer.run(); });

  writer.release_sources();

  expect_error(ExitCode::io_error, "/dev/full: no room left on the disk", [&] { thread.wait(); });
}

TEST_F(PartWriterTest, CancelledWriterEndsWithoutWritingAll) {
  PartWriter writer = this->writer({}, path());
  writer.cancel();

  writer.run();

  EXPECT_EQ(written(), std::vector<float>(expected_.size()));
}

TEST(BackgroundThread, ThrowsWhatItsJobThrewOnceAndGoesOn) {
  BackgroundThread thread;
  thread.start([] { fail(ExitCode::io_error, "a made-up failure"); });
  expect_error(ExitCode::io_error, "a made-up failure", [&] { thread.wait(); });
  EXPECT_NO_THROW(thread.wait());

  bool ran = false;
  thread.start([&] { ran = true; });
  thread.wait();

  EXPECT_TRUE(ran);
  EXPECT_TRUE(thread.idle());
}

}  // namespace
}  // namespace hrm::io
