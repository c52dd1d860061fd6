#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

#include "base/buffer.hpp"
#include "base/digest.hpp"
#include "expect_error.hpp"
#include "io/background.hpp"
#include "io/part_writer.hpp"
#include "io/user_block.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t columns = 1000;
constexpr std::int64_t rows = 6000;  // 23 MiB: several chunks

constexpr std::int64_t begin = user_block_bytes + 1000;  // of the matrix in its file; behind it 100 bytes more

/// One matrix in two parts, the second of them first, and an empty one between them. Each test runs through the page
/// cache alone and, where the file system has them, with direct writes.
class PartWriterTest : public testing::TestWithParam<bool> {
 protected:
  PartWriterTest() : source_(static_cast<std::size_t>(rows * columns)), bounce_(GetParam() ? 5 * direct_block : 0) {
    std::iota(source_.begin(), source_.end(), 0.0F);
    expected_ = source_;
    make_file();
  }
  std::filesystem::path path() const { return scratch_ / "parts"; }
  static std::int64_t bytes() { return rows * columns * static_cast<std::int64_t>(sizeof(float)); }
  void make_file() const { overwrite(path(), std::string(static_cast<std::size_t>(begin + bytes() + 100), 'x')); }

  std::vector<PlacedPart> parts() const {
    const TensorSlice slice{{rows, columns}, TensorSplit::none, 1, {}};
    const std::int64_t first = rows / 3 * columns + 17;
    return {{{"/model/m", slice, first, rows * columns - first, source_.data() + first}, 0, begin},
            {{"/model/m", slice, 0, 0, nullptr}, 0, begin},
            {{"/model/m", slice, 0, first, source_.data()}, 0, begin}};
  }
  PartWriter writer(const std::vector<PlacedPart>& parts, std::span<float> staging) {
    return PartWriter(BlockFile(path(), bounce_.span()), parts, 1, staging);
  }
  std::vector<float> written() const {
    std::vector<float> values(source_.size());
    RawFile(path(), RawFile::Mode::read).read_at(begin, std::as_writable_bytes(std::span(values)));
    return values;
  }
  /// The whole file's digest from what the writers know and what lies around the matrix.
  std::uint64_t digest_of_file(std::uint64_t of_writers) const {
    const FileRange matrix{begin, begin + bytes()};
    return of_writers + digest_outside(RawFile(path(), RawFile::Mode::read), std::span(&matrix, 1));
  }

  ScratchFolder scratch_;
  std::vector<float> source_;
  std::vector<float> expected_;
  Buffer<std::byte> bounce_;
};

INSTANTIATE_TEST_SUITE_P(Ways, PartWriterTest, testing::Bool(),
                         [](const auto& way) { return way.param ? "Direct" : "PageCache"; });

TEST_P(PartWriterTest, WritesEveryPartToItsPlaceAndDigestsIt) {
  PartWriter writer = this->writer(parts(), {});

  writer.run();

  EXPECT_EQ(written(), expected_);
  EXPECT_EQ(writer.digests(), std::vector<std::uint64_t>{digest(std::span<const float>(expected_))});
  EXPECT_EQ(digest_of_file(writer.file_digest()), file_digest_part(path(), 0, 1));
}

TEST_P(PartWriterTest, DigestsOfManyWritersAddUpToThatOfTheFile) {
  // Column slices of 1001 columns: every other run ends inside a word, which the next writer's data complete.
  const std::int64_t odd_columns = 1001;
  const std::int64_t odd_rows = rows * columns / odd_columns;
  const TensorSlice whole{{odd_rows, odd_columns}, TensorSplit::columns, 1, {}};
  source_.resize(static_cast<std::size_t>(odd_rows * odd_columns));
  expected_.resize(source_.size());
  std::vector<std::vector<float>> held;
  std::vector<PlacedPart> pieces;
  for (int rank = 0; rank < 7; ++rank) {
    TensorSlice slice = whole;
    slice.place = {rank, 7};
    held.push_back(slice_values(slice, expected_));
    const std::int64_t cut = std::ssize(held.back()) / 2 + rank;
    pieces.push_back({{"/model/m", slice, 0, cut, held.back().data()}, 0, begin + 4});
    pieces.push_back({{"/model/m", slice, cut, std::ssize(held.back()) - cut, held.back().data() + cut}, 0, begin + 4});
  }
  std::uint64_t file_digest = 0;
  std::uint64_t tensor_digest = 0;
  std::vector<std::unique_ptr<PartWriter>> all;
  for (const PlacedPart& piece : pieces) {
    all.push_back(
        std::make_unique<PartWriter>(BlockFile(path(), bounce_.span()), std::vector{piece}, 1, std::span<float>()));
    all.back()->run();
  }
  for (const auto& writer : all) {
    tensor_digest += writer->digests().front();
    file_digest += writer->file_digest();
  }

  const FileRange matrix{begin + 4, begin + 4 + std::ssize(expected_) * 4};
  const RawFile file(path(), RawFile::Mode::read);
  std::vector<float> values(expected_.size());
  file.read_at(matrix.begin, std::as_writable_bytes(std::span(values)));
  EXPECT_EQ(values, expected_);
  EXPECT_EQ(tensor_digest, digest(std::span<const float>(expected_)));
  EXPECT_EQ(file_digest + digest_outside(file, std::span(&matrix, 1)), file_digest_part(path(), 0, 1));
}

TEST_P(PartWriterTest, WhatChangesAfterTheReleaseDoesNotReachTheFile) {
  const std::int64_t enough =
      PartWriter::staging_elements(std::vector{parts()[0].part, parts()[1].part, parts()[2].part});
  for (const std::int64_t room : {std::int64_t{0}, std::int64_t{1}, std::int64_t{2000}, enough / 3, enough}) {
    std::iota(source_.begin(), source_.end(), 0.0F);
    make_file();
    std::vector<float> staging(static_cast<std::size_t>(room));
    PartWriter writer = this->writer(parts(), staging);
    BackgroundThread thread;
    thread.start([&] { writer.run(); });

    writer.release_sources();
    std::fill(source_.begin(), source_.end(), -1.0F);
    writer.release_sources();  // again: changes nothing
    thread.wait();

    EXPECT_EQ(written(), expected_) << room;
    EXPECT_EQ(writer.digests().front(), digest(std::span<const float>(expected_))) << room;
    EXPECT_EQ(digest_of_file(writer.file_digest()), file_digest_part(path(), 0, 1)) << room;
  }
}

TEST_P(PartWriterTest, ReleaseWaitsForTheChunkThatIsBeingWritten) {
  constexpr std::int64_t count = std::int64_t{1} << 20;  // one chunk
  std::vector<float> values(count);
  std::vector<float> staging(count);
  const std::uint64_t expected = digest(std::span<const float>(expected_).first(count));
  for (int trial = 0; trial < 40; ++trial) {
    std::copy_n(expected_.begin(), count, values.begin());
    const PlacedPart part{{"/model/m", {{count}, TensorSplit::none, 1, {}}, 0, count, values.data()}, 0, begin};
    PartWriter writer = this->writer({part}, staging);
    BackgroundThread thread;
    thread.start([&] { writer.run(); });
    std::this_thread::sleep_for(std::chrono::microseconds(50 * trial));

    writer.release_sources();
    std::fill(values.begin(), values.end(), -1.0F);
    thread.wait();

    ASSERT_EQ(writer.digests().front(), expected) << trial;
  }
}

TEST_P(PartWriterTest, FullDiskIsReportedAndReleasesTheSources) {
  std::vector<float> staging(1000);
  PartWriter writer(BlockFile("/dev/full", bounce_.span()), parts(), 1, staging);
  BackgroundThread thread;
  thread.start([&] { writer.run(); });

  writer.release_sources();

  expect_error(ExitCode::io_error, "/dev/full: no room left on the disk", [&] { thread.wait(); });
}

TEST_P(PartWriterTest, CancelledWriterEndsWithoutWritingAll) {
  make_file();
  const std::string before = file_bytes(path());
  PartWriter writer = this->writer(parts(), {});
  writer.cancel();

  writer.run();

  EXPECT_TRUE(file_bytes(path()) == before);
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
