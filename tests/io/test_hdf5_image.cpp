#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.hpp"
#include "expect_error.hpp"
#include "io/hdf5.hpp"
#include "io/hdf5_image.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

using h5::Image;

std::vector<std::byte> made_bytes(std::size_t count, std::uint64_t seed) {
  const RandomStream numbers(seed, RandomPurpose::demo, 0);
  std::vector<std::byte> bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::byte>(1 + numbers.below(i, 255));
  }
  return bytes;
}

class ImageTest : public testing::Test {
 protected:
  /// A file of these bytes and its image.
  Image image_of(const std::vector<std::byte>& bytes) const {
    RawFile(path_, RawFile::Mode::create).write_at(0, bytes);
    return Image(RawFile(path_, RawFile::Mode::write));
  }
  std::vector<std::byte> on_disk() const {
    const RawFile file(path_, RawFile::Mode::read);
    std::vector<std::byte> bytes(static_cast<std::size_t>(file.size()));
    file.read_at(0, bytes);
    return bytes;
  }
  ScratchFolder scratch_;
  std::filesystem::path path_ = scratch_ / "file.h5";
};

TEST_F(ImageTest, WritesInAnyOrderReadAsTheyWereWrittenLast) {
  std::vector<std::byte> expected = made_bytes(300, 1);
  Image image = image_of(expected);
  const RandomStream numbers(2, RandomPurpose::demo, 0);
  for (std::uint64_t i = 0; i < 500; ++i) {
    const auto data = made_bytes(1 + numbers.below(3 * i, 40), 10 + i);
    const std::size_t at = numbers.below(3 * i + 1, 500);
    image.write(static_cast<std::int64_t>(at), data);
    expected.resize(std::max(expected.size(), at + data.size()));
    std::ranges::copy(data, expected.begin() + static_cast<std::ptrdiff_t>(at));

    const std::size_t from = numbers.below(3 * i + 2, expected.size());
    std::vector<std::byte> seen(expected.size() - from);
    image.read(static_cast<std::int64_t>(from), seen);

    ASSERT_TRUE(std::ranges::equal(seen, std::span(expected).subspan(from))) << i;
  }
  EXPECT_EQ(image.length(), std::ssize(expected));
  image.save();
  EXPECT_EQ(on_disk(), expected);
}

TEST_F(ImageTest, NothingButWhatWasWrittenIsTouchedOnTheDisk) {
  Image image = image_of(made_bytes(100, 1));
  image.write(10, made_bytes(5, 2));
  image.write(20, made_bytes(5, 3));
  const std::vector<std::byte> others = made_bytes(100, 4);  // by another process meanwhile
  RawFile(path_, RawFile::Mode::write).write_at(0, others);

  image.save();

  std::vector<std::byte> expected = others;
  std::ranges::copy(made_bytes(5, 2), expected.begin() + 10);
  std::ranges::copy(made_bytes(5, 3), expected.begin() + 20);
  EXPECT_EQ(on_disk(), expected);
}

TEST_F(ImageTest, DataThatAreAllocatedButNotWrittenAreNotHeld) {
  h5::File file = h5::File::create(path_);
  const std::int64_t shape[1] = {std::int64_t{1} << 36};  // 256 GiB of them
  file.create_dataset("/x", h5::Type::float32, shape);

  file.close();

  EXPECT_GT(std::filesystem::file_size(path_), std::uintmax_t{1} << 38);
  EXPECT_EQ(h5::File::open(path_).open_dataset("/x").shape()[0], shape[0]);
}

TEST_F(ImageTest, AFileThatIsNotClosedIsNotWritten) {
  { h5::File::create(path_).write_text("/x", "text"); }

  EXPECT_EQ(std::filesystem::file_size(path_), 0U);
}

/// The library crashes at the program's end, which is this test's too, where a write of its own has failed.
TEST_F(ImageTest, ADiskThatTakesNothingIsToldByClose) {
  h5::File file = h5::File::create(path_);
  file.write_array<double>("/x", std::vector<double>(1000, 1.5));
  const FileSizeLimit limit(4096);

  expect_error(ExitCode::io_error, path_.string(), [&] { file.close(); });
}

}  // namespace
}  // namespace hrm::io
