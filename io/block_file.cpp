#include "io/block_file.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace hrm::io {
namespace {

std::int64_t address(const std::byte* data) {
  return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data));
}

/// From `place` to the next border of a block.
std::int64_t to_border(std::int64_t place) {
  return (direct_block - place % direct_block) % direct_block;
}

/// The whole blocks of some memory.
std::span<std::byte> aligned(std::span<std::byte> memory) {
  const std::int64_t skipped = std::min(to_border(address(memory.data())), std::ssize(memory));
  const std::int64_t whole = (std::ssize(memory) - skipped) / direct_block * direct_block;
  return memory.subspan(static_cast<std::size_t>(skipped), static_cast<std::size_t>(whole));
}

}  // namespace

BlockFile::BlockFile(const std::filesystem::path& path, std::span<std::byte> bounce)
    : file_(path, RawFile::Mode::write), bounce_(aligned(bounce)) {
  if (!bounce_.empty()) {
    direct_ = RawFile::try_open(path, RawFile::Mode::direct);
  }
}

void BlockFile::write_at(std::int64_t offset, std::span<const std::byte> data) {
  const auto head = static_cast<std::size_t>(std::min(to_border(offset), std::ssize(data)));
  const std::size_t whole = direct() ? (data.size() - head) / direct_block * direct_block : 0;
  if (whole == 0) {
    file_.write_at(offset, data);
    return;
  }
  file_.write_at(offset, data.first(head));
  write_blocks(offset + static_cast<std::int64_t>(head), data.subspan(head, whole));
  file_.write_at(offset + static_cast<std::int64_t>(head + whole), data.subspan(head + whole));
}

void BlockFile::write_blocks(std::int64_t offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    std::span<const std::byte> piece = data;
    if (to_border(address(data.data())) != 0) {
      piece = bounce_.first(std::min(data.size(), bounce_.size()));
      std::memcpy(bounce_.data(), data.data(), piece.size());
    }
    const std::size_t done = direct_.write_direct(offset, piece);
    offset += static_cast<std::int64_t>(done);
    data = data.subspan(done);
    if (done < piece.size()) {
      direct_.close();
      file_.write_at(offset, data);
      return;
    }
  }
}

}  // namespace hrm::io
