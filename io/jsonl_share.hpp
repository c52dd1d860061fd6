#pragma once
// A text file's lines dealt to all ranks in contiguous blocks.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace hrm::io {

/// Whole lines of a file, line ends included; the last of a file may have none.
struct LineBlock {
  std::string text;
  std::int64_t first_line = 1;  ///< number of the first one, from 1
};

/// Reads a file in rounds. The blocks of a round, rank after rank, and the rounds after one another are the file.
/// A plain file is cut by bytes and each rank reads its own only; of a compressed one every rank reads all.
class LineShare {
 public:
  virtual ~LineShare() = default;
  /// Collective. This rank's block of the next round, possibly empty; false after the last round.
  virtual bool next(LineBlock& mine) = 0;
};

/// Upper bound of a block, but for its last line.
inline constexpr std::size_t default_block_bytes = std::size_t{4} << 20;

/// Collective. Errors: 66 missing or no file, 65 damaged compression or a line longer than longest_line_bytes.
std::unique_ptr<LineShare> share_lines(comm::Communicator& group, const std::filesystem::path& path,
                                       std::size_t block_bytes = default_block_bytes);

}  // namespace hrm::io
