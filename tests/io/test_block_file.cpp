#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/buffer.hpp"
#include "expect_error.hpp"
#include "io/block_file.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t file_length = 40 * direct_block;

/// Whether the file system of the test takes O_DIRECT.
bool takes_direct(const std::filesystem::path& path) {
  const int file = ::open(path.c_str(), O_WRONLY | O_DIRECT);
  if (file >= 0) {
    ::close(file);
  }
  return file >= 0;
}

class BlockFileTest : public testing::Test {
 protected:
  BlockFileTest() : bounce_(3 * direct_block), source_(2 * file_length) {
    const RandomStream numbers(3, RandomPurpose::demo, 0);
    for (std::int64_t i = 0; i < source_.size(); ++i) {
      source_[i] = static_cast<std::byte>(numbers.below(static_cast<std::uint64_t>(i), 256));
    }
    overwrite(path(), expected_);
  }
  std::filesystem::path path() const { return scratch_ / "blocks"; }

  /// Writes `count` bytes from place `from` of the source and notes what the file should hold.
  void write(BlockFile& file, std::int64_t offset, std::int64_t from, std::int64_t count) {
    const std::span<const std::byte> data = source_.span(from, count);
    file.write_at(offset, data);
    expected_.replace(static_cast<std::size_t>(offset), data.size(), reinterpret_cast<const char*>(data.data()),
                      data.size());
  }

  ScratchFolder scratch_;
  Buffer<std::byte> bounce_;
  Buffer<std::byte> source_;
  std::string expected_ = std::string(static_cast<std::size_t>(file_length), 'x');
};

TEST_F(BlockFileTest, HoldsWhatWasWrittenAtAnyPlaceAndFromAnyAddress) {
  for (const bool direct : {true, false}) {
    BlockFile file(path(), direct ? bounce_.span() : std::span<std::byte>());
    const RandomStream numbers(4, RandomPurpose::demo, direct ? 1 : 0);
    for (std::uint64_t trial = 0; trial < 300; ++trial) {
      const auto draw = [&](std::uint64_t which, std::int64_t below) {
        return static_cast<std::int64_t>(numbers.below(4 * trial + which, static_cast<std::uint64_t>(below)));
      };
      const std::int64_t unit = trial % 2 == 0 ? 4 : direct_block;
      const std::int64_t offset = draw(0, file_length / unit) * unit;
      const std::int64_t most = trial % 5 == 0 ? 9 : file_length - offset;
      const std::int64_t count = std::min(draw(1, most + 1), file_length - offset);
      const std::int64_t from =
          trial % 3 == 0 ? offset % direct_block : draw(2, file_length);  // the same within a block
      write(file, offset, from, count);
    }
    file.sync();

    EXPECT_TRUE(file_bytes(path()) == expected_) << direct;
    EXPECT_EQ(file.direct(), direct && takes_direct(path()));
  }
}

TEST_F(BlockFileTest, GrowsAFileOfAnyLength) {
  overwrite(path(), "");
  expected_.assign(static_cast<std::size_t>(5 * direct_block + 17), '\0');
  BlockFile file(path(), bounce_.span());

  write(file, 100, 0, 5 * direct_block - 83);

  EXPECT_TRUE(file_bytes(path()) == expected_);
}

TEST_F(BlockFileTest, LessThanABlockOfBounceIsAnOrdinaryFile) {
  BlockFile file(path(), bounce_.span(1, direct_block));

  write(file, 0, 0, file_length);

  EXPECT_FALSE(file.direct());
  EXPECT_TRUE(file_bytes(path()) == expected_);
}

TEST_F(BlockFileTest, FileThatRefusesToBeOpenedDirectlyReportsItsOwnFailure) {
  BlockFile file("/dev/full", bounce_.span());

  EXPECT_FALSE(file.direct());
  expect_error(ExitCode::io_error, "/dev/full: no room left on the disk",
               [&] { file.write_at(0, source_.span(0, 2 * direct_block)); });
}

TEST_F(BlockFileTest, FileThatMayNotGrowIsAnIoError) {
  BlockFile file(path(), bounce_.span());
  const FileSizeLimit limit(static_cast<rlim_t>(file_length) + 5000);

  expect_error(ExitCode::io_error, "blocks: cannot write",
               [&] { file.write_at(file_length, source_.span(1, 4 * direct_block)); });
}

TEST_F(BlockFileTest, MisalignedDirectWriteIsDoneOrRefusedWhole) {
  RawFile file = RawFile::try_open(path(), RawFile::Mode::direct);

  const std::size_t done = file.is_open() ? file.write_direct(1, source_.span(0, 100)) : 0;

  expected_.replace(1, done, reinterpret_cast<const char*>(source_.data()), done);
  EXPECT_TRUE(done == 0 || done == 100);
  EXPECT_TRUE(file_bytes(path()) == expected_);
}

}  // namespace
}  // namespace hrm::io
