#pragma once
// Lines of text files, plain or compressed, with their numbers.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace hrm::io {

/// Longest line that is read; more is taken for a file that holds no lines.
inline constexpr std::size_t longest_line_bytes = std::size_t{1} << 28;

/// Bytes of a file from its beginning, decompressed where its name ends in .gz or .zst. "-" is standard input.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Fills `buffer` as far as there is data; 0 at the end. Errors: 65 damaged compression, 74 reading failed.
  virtual std::size_t read(std::span<char> buffer) = 0;
};

/// InputError(no_input) where the file cannot be opened, (bad_data) where a compressed one is not what its name says.
std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path);

/// True where open_bytes would decompress.
bool is_compressed(const std::filesystem::path& path);

/// All bytes that open_bytes gives.
std::string read_decompressed(const std::filesystem::path& path);

/// One line after the other; memory is bounded by the longest.
class LineReader {
 public:
  explicit LineReader(const std::filesystem::path& path);

  /// The next line with its line end, valid until the next call; nothing at the end of the file.
  std::optional<std::string_view> next();
  /// Number of the line that next() returned last, from 1.
  std::int64_t number() const { return number_; }
  /// "FILE:LINE" of that line.
  std::string place() const;

 private:
  bool refill();

  std::filesystem::path path_;
  std::unique_ptr<ByteSource> source_;
  std::string buffer_;
  std::size_t begin_ = 0;  // of what next() has not returned yet
  std::int64_t number_ = 0;
};

/// `line` without "\n" or "\r\n".
std::string_view without_line_end(std::string_view line);

/// Whether a line holds nothing but blanks, tabs and its line end. JSONL readers pass over such lines.
bool is_blank(std::string_view line);

}  // namespace hrm::io
