#pragma once
// The 512-byte block in front of every HDF5 file of this program: magic `HRMDIGST`, then uint64: 8 version (1), 16 file
// length including the block, 24 digest of all bytes behind the block (little-endian words, the last padded with
// zeros), 32 digest of bytes 0-31; bytes 40 to 511 are zero. It is checked before HDF5, which can crash on damage,
// opens the file.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "comm/communicator.hpp"
#include "io/disk.hpp"

namespace hrm::io {

inline constexpr std::int64_t user_block_bytes = 512;

/// Called between the pieces of a long read; what it throws ends the read.
using Between = std::function<void()>;

struct UserBlock {
  std::int64_t length = 0;
  std::uint64_t digest = 0;
};

/// Reads the block and checks magic, version, its own digest, zeros and the file's length; the data are not read. 65
/// with what differs, 66 where there is no file.
UserBlock read_user_block(const std::filesystem::path& path);

/// Words of 8 bytes behind the block, which the file's digest is a sum over.
struct FileWords {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t begin() const { return user_block_bytes + first * 8; }  ///< bytes, in the file
  std::int64_t end() const { return begin() + count * 8; }
};

/// Bytes [begin, end) of a file, behind the block.
struct FileRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

/// Those whose first byte lies in the range: of ranges that cover a file each word belongs to one.
FileWords words_beginning_in(const FileRange& range);

/// What these words add to the file's digest, as they are read from it. Allocates nothing.
std::uint64_t digest_words(const RawFile& file, const FileWords& words, const Between& between = {});

/// What all words add that begin outside of these ranges, which are sorted and disjoint. Allocates nothing.
std::uint64_t digest_outside(const RawFile& file, std::span<const FileRange> ranges);

/// Digest of part `part` of `parts` of the bytes behind the block; the sum over parts is the file's digest.
std::uint64_t file_digest_part(const std::filesystem::path& path, int part, int parts, const Between& between = {});

/// Writes the block of a closed file whose bytes behind it have this digest, durably.
UserBlock seal_user_block(const std::filesystem::path& path, std::uint64_t digest);

/// Digests the closed file and writes its block, durably. Collective: ranks share the bytes, rank 0 writes.
UserBlock write_user_block(comm::Communicator& group, const std::filesystem::path& path);

/// Reads the block and checks the digest of all data. Collective: ranks share the bytes; a failure is thrown on all.
UserBlock verify_user_block(comm::Communicator& group, const std::filesystem::path& path, const Between& between = {});

/// The same by this process alone.
UserBlock verify_user_block(const std::filesystem::path& path);

}  // namespace hrm::io
