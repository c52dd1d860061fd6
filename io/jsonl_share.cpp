#include "io/jsonl_share.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.hpp"
#include "io/disk.hpp"
#include "io/jsonl.hpp"

namespace hrm::io {
namespace {

std::int64_t count_lines(std::string_view text) {
  const auto ends = std::count(text.begin(), text.end(), '\n');
  return ends + (text.empty() || text.ends_with('\n') ? 0 : 1);
}

/// Cut by bytes: a line belongs to the rank in whose window it starts.
class PlainShare : public LineShare {
 public:
  PlainShare(comm::Communicator& group, const std::filesystem::path& path, std::size_t block_bytes) : group_(group) {
    comm::together(group, [&] {
      file_ = RawFile(path, RawFile::Mode::read);
      size_ = file_.size();
    });
    // A file that differs between nodes is found where it is shorter: reading there fails.
    group.max({&size_, 1});
    const std::int64_t share = (size_ + group.size() - 1) / group.size();
    window_ = std::clamp<std::int64_t>(share, 1, static_cast<std::int64_t>(block_bytes));
  }

  bool next(LineBlock& mine) override {
    if (position_ >= size_) {
      return false;
    }
    comm::together(group_, [&] { mine.text = read_window(position_ + group_.rank() * window_); });
    std::vector<std::uint64_t> lines(static_cast<std::size_t>(group_.size()), 0);
    lines[group_.rank()] = static_cast<std::uint64_t>(count_lines(mine.text));
    group_.sum(std::span(lines));
    const auto own = lines.begin() + group_.rank();
    mine.first_line = lines_before_ + 1 + static_cast<std::int64_t>(std::accumulate(lines.begin(), own, 0ULL));
    lines_before_ += static_cast<std::int64_t>(std::accumulate(lines.begin(), lines.end(), 0ULL));
    position_ += window_ * group_.size();
    return true;
  }

 private:
  std::string read(std::int64_t first, std::int64_t last) const {
    std::string text(static_cast<std::size_t>(last - first), '\0');
    file_.read_at(first, std::as_writable_bytes(std::span(text)));
    return text;
  }

  /// The lines that start in [first, first + window_).
  std::string read_window(std::int64_t first) const {
    const std::int64_t last = std::min(first + window_, size_);
    if (first >= last) {
      return "";
    }
    // The byte in front of the window tells whether a line starts at its first byte.
    const std::int64_t from = std::max<std::int64_t>(first - 1, 0);
    std::string text = read(from, last);
    if (first > 0) {
      const std::size_t end_of_other = text.find('\n');
      if (end_of_other == std::string::npos || end_of_other + 1 == text.size()) {
        return "";
      }
      text.erase(0, end_of_other + 1);
    }
    complete_last_line(text, last);
    return text;
  }

  void complete_last_line(std::string& text, std::int64_t next) const {
    constexpr std::int64_t piece = std::int64_t{1} << 16;
    while (!text.ends_with('\n') && next < size_) {
      const std::string more = read(next, std::min(next + piece, size_));
      const std::size_t end = more.find('\n');
      text.append(more, 0, end == std::string::npos ? end : end + 1);
      next += static_cast<std::int64_t>(more.size());
      if (text.size() > longest_line_bytes + static_cast<std::size_t>(window_)) {
        fail(ExitCode::bad_data, "{}: the line around byte {} is longer than {} bytes; is this a text file?",
             file_.path().string(), next, longest_line_bytes);
      }
    }
  }

  comm::Communicator& group_;
  RawFile file_;
  std::int64_t size_ = 0;
  std::int64_t window_ = 1;
  std::int64_t position_ = 0;
  std::int64_t lines_before_ = 0;
};

/// Read by every rank from the beginning; blocks go round the ranks.
class CompressedShare : public LineShare {
 public:
  CompressedShare(comm::Communicator& group, const std::filesystem::path& path, std::size_t block_bytes)
      : group_(group), block_bytes_(std::min(block_bytes, largest_block)) {
    comm::together(group, [&] { reader_.emplace(path); });
  }

  bool next(LineBlock& mine) override {
    mine.text.clear();
    const std::int64_t before = reader_->number();
    comm::together(group_, [&] {
      for (int rank = 0; rank < group_.size(); ++rank) {
        read_block(rank == group_.rank() ? &mine : nullptr);
      }
    });
    return reader_->number() > before;
  }

 private:
  // Small, so that several ranks have work although the decompressed size is not known.
  static constexpr std::size_t largest_block = std::size_t{1} << 19;

  void read_block(LineBlock* keep) {
    if (keep != nullptr) {
      keep->first_line = reader_->number() + 1;
    }
    for (std::size_t bytes = 0; bytes < block_bytes_;) {
      const std::optional<std::string_view> line = reader_->next();
      if (!line) {
        return;
      }
      bytes += line->size();
      if (keep != nullptr) {
        keep->text.append(*line);
      }
    }
  }

  comm::Communicator& group_;
  std::size_t block_bytes_;
  std::optional<LineReader> reader_;
};

}  // namespace

std::unique_ptr<LineShare> share_lines(comm::Communicator& group, const std::filesystem::path& path,
                                       std::size_t block_bytes) {
  comm::together(group, [&] {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) {
      fail(ExitCode::no_input, "{}: not a file that can be read ({}); check the path", path.string(),
           error ? error.message() : "it is a folder, a pipe or a device");
    }
  });
  if (is_compressed(path)) {
    return std::make_unique<CompressedShare>(group, path, block_bytes);
  }
  return std::make_unique<PlainShare>(group, path, block_bytes);
}

}  // namespace hrm::io
