#include "io/user_block.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "io/disk.hpp"

namespace hrm::io {
namespace {

constexpr std::string_view magic = "HRMDIGST";
constexpr std::uint64_t block_version = 1;
constexpr std::size_t signed_bytes = 32;  // covered by the block's own digest
constexpr std::size_t used_bytes = 40;
constexpr std::int64_t chunk_bytes = std::int64_t{256} << 10;  // a multiple of 8; on the stack

using Block = std::array<std::byte, static_cast<std::size_t>(user_block_bytes)>;

std::uint64_t word_at(const Block& block, std::size_t offset) {
  std::uint64_t word;
  std::memcpy(&word, block.data() + offset, sizeof word);
  return word;
}

void set_word(Block& block, std::size_t offset, std::uint64_t word) {
  std::memcpy(block.data() + offset, &word, sizeof word);
}

std::uint64_t own_digest(const Block& block) {
  return digest_file_words(block.data(), signed_bytes, 0);
}

[[noreturn]] void refuse(const std::filesystem::path& path, std::string_view what) {
  fail(ExitCode::bad_data, "{}: {}; restore the file from a copy or write it anew", path.string(), what);
}

void check_block(const std::filesystem::path& path, const Block& block, std::int64_t length) {
  if (std::memcmp(block.data(), magic.data(), magic.size()) != 0) {
    refuse(path, "is not a file of this program (no HRMDIGST user block)");
  }
  if (word_at(block, 32) != own_digest(block)) {
    refuse(path, "the user block is damaged (its own digest differs)");
  }
  if (word_at(block, 8) != block_version) {
    refuse(path, fmt::format("has user block version {}, this program reads {}", word_at(block, 8), block_version));
  }
  if (std::any_of(block.begin() + used_bytes, block.end(), [](std::byte b) { return b != std::byte{0}; })) {
    refuse(path, "the user block is damaged (bytes behind its digest are not zero)");
  }
  if (word_at(block, 16) != static_cast<std::uint64_t>(length)) {
    refuse(path, fmt::format("is {} bytes long, {} when it was written (truncated or still being copied)", length,
                             word_at(block, 16)));
  }
}

void check_digest(const std::filesystem::path& path, const UserBlock& block, std::uint64_t digest) {
  if (digest != block.digest) {
    refuse(path, fmt::format("is damaged: the digest of the file is {}, {} when it was written", hex(digest),
                             hex(block.digest)));
  }
}

}  // namespace

UserBlock read_user_block(const std::filesystem::path& path) {
  const RawFile file(path, RawFile::Mode::read);
  const std::int64_t length = file.size();
  if (length < user_block_bytes) {
    refuse(path, "is not a file of this program, or truncated (shorter than a user block)");
  }
  Block block{};
  file.read_at(0, block);
  check_block(path, block, length);
  return {length, word_at(block, 24)};
}

FileWords words_beginning_in(const FileRange& range) {
  const std::int64_t first = (range.begin - user_block_bytes + 7) / 8;
  return {first, (range.end - user_block_bytes + 7) / 8 - first};
}

std::uint64_t digest_words(const RawFile& file, const FileWords& words, const Between& between) {
  std::array<std::byte, chunk_bytes> chunk;
  const std::int64_t end = std::min(words.end(), file.size());
  std::uint64_t sum = 0;
  for (std::int64_t at = words.begin(); at < end; at += chunk_bytes) {
    if (between) {
      between();
    }
    const auto part = std::span(chunk).first(static_cast<std::size_t>(std::min(chunk_bytes, end - at)));
    file.read_at(at, part);
    sum += digest_file_words(part.data(), part.size(), static_cast<std::uint64_t>((at - user_block_bytes) / 8));
  }
  return sum;
}

std::uint64_t digest_outside(const RawFile& file, std::span<const FileRange> ranges) {
  std::uint64_t sum = 0;
  std::int64_t at = user_block_bytes;
  for (const FileRange& range : ranges) {
    sum += digest_words(file, words_beginning_in({at, range.begin}));
    at = range.end;
  }
  return sum + digest_words(file, words_beginning_in({at, file.size()}));
}

std::uint64_t file_digest_part(const std::filesystem::path& path, int part, int parts, const Between& between) {
  const RawFile file(path, RawFile::Mode::read);
  const std::int64_t words = words_beginning_in({user_block_bytes, file.size()}).count;
  const std::int64_t first = words * part / parts;
  return digest_words(file, {first, words * (part + 1) / parts - first}, between);
}

UserBlock seal_user_block(const std::filesystem::path& path, std::uint64_t digest) {
  RawFile file(path, RawFile::Mode::write);
  Block block{};
  std::memcpy(block.data(), magic.data(), magic.size());
  set_word(block, 8, block_version);
  set_word(block, 16, static_cast<std::uint64_t>(file.size()));
  set_word(block, 24, digest);
  set_word(block, 32, own_digest(block));
  file.write_at(0, block);
  file.sync();
  return {file.size(), digest};
}

UserBlock write_user_block(comm::Communicator& group, const std::filesystem::path& path) {
  std::uint64_t digest = 0;
  comm::together(group, [&] { digest = file_digest_part(path, group.rank(), group.size()); });
  group.sum(std::span(&digest, 1));
  UserBlock result{0, digest};
  comm::together(group, [&] {
    if (group.rank() == 0) {
      result = seal_user_block(path, digest);
    }
  });
  group.broadcast(std::as_writable_bytes(std::span(&result.length, 1)), 0);
  return result;
}

UserBlock verify_user_block(comm::Communicator& group, const std::filesystem::path& path, const Between& between) {
  UserBlock block;
  std::uint64_t digest = 0;
  comm::together(group, [&] {
    block = read_user_block(path);
    digest = file_digest_part(path, group.rank(), group.size(), between);
  });
  group.sum(std::span(&digest, 1));
  comm::together(group, [&] { check_digest(path, block, digest); });
  return block;
}

UserBlock verify_user_block(const std::filesystem::path& path) {
  const UserBlock block = read_user_block(path);
  check_digest(path, block, file_digest_part(path, 0, 1));
  return block;
}

}  // namespace hrm::io
