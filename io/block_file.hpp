#pragma once
// Large pieces on their way into a file past the page cache: the copy into it costs a processor more than all the rest
// of a save.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "io/disk.hpp"

namespace hrm::io {

/// Bytes: what direct writes are aligned to, in the file and in memory. No common file system asks for more; one that
/// does refuses, and is written to as usual.
inline constexpr std::int64_t direct_block = 4096;

/// An existing file for writing. Whole blocks of what is written go to the disk directly (O_DIRECT) where the file
/// system lets them; what lies before and behind them, and all else, through the page cache. Both may be mixed as long
/// as nobody writes or reads the same blocks meanwhile. Nothing is durable before sync().
class BlockFile {
 public:
  /// `bounce` outlives this object: memory that data pass through whose address and place in the file differ by other
  /// than whole blocks; with less than two blocks of it everything goes through the page cache.
  BlockFile(const std::filesystem::path& path, std::span<std::byte> bounce);

  /// 74 where that fails, as RawFile::write_at. Allocates nothing.
  void write_at(std::int64_t offset, std::span<const std::byte> data);
  void sync() { file_.sync(); }
  const RawFile& file() const { return file_; }
  /// Whether the file system has let all whole blocks through so far.
  bool direct() const { return direct_.is_open(); }

 private:
  void write_blocks(std::int64_t offset, std::span<const std::byte> data);

  RawFile file_;
  RawFile direct_;  ///< the same file; closed where direct writes are refused
  std::span<std::byte> bounce_;
};

}  // namespace hrm::io
