#include "io/jsonl.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace hrm::io {
namespace {

constexpr std::size_t bytes_per_read = std::size_t{1} << 20;

class PlainSource : public ByteSource {
 public:
  explicit PlainSource(const std::filesystem::path& path) : path_(path), file_(STDIN_FILENO) {
    if (path == "-") {
      return;
    }
    file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const bool folder = file_ >= 0 && std::filesystem::is_directory(path);
    if (file_ < 0 || folder) {
      const int reason = errno;
      close();
      fail(ExitCode::no_input, "{}: cannot be read ({}); check the path", path.string(),
           folder ? "it is a folder" : std::strerror(reason));
    }
  }
  ~PlainSource() override { close(); }
  PlainSource(const PlainSource&) = delete;
  PlainSource& operator=(const PlainSource&) = delete;

  std::size_t read(std::span<char> buffer) override {
    ssize_t got = -1;
    do {
      got = ::read(file_, buffer.data(), buffer.size());
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
      fail(ExitCode::io_error, "{}: reading failed ({}); check the file system", path_.string(), std::strerror(errno));
    }
    return static_cast<std::size_t>(got);
  }

 private:
  void close() noexcept {
    if (file_ > STDIN_FILENO) {
      ::close(file_);
    }
  }
  std::filesystem::path path_;
  int file_;
};

/// What the two decompressors share: compressed bytes from the file, in pieces.
class CompressedInput {
 public:
  explicit CompressedInput(const std::filesystem::path& path) : file_(path), bytes_(bytes_per_read) {}

  std::span<const char> pending() const { return {bytes_.data() + begin_, end_ - begin_}; }
  void consumed(std::size_t count) { begin_ += count; }
  /// Reads on when nothing is pending; false at the end of the file.
  bool refill() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = file_.read(bytes_);
    }
    return end_ > begin_;
  }

 private:
  PlainSource file_;
  std::vector<char> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

[[noreturn]] void damaged(const std::filesystem::path& path, const char* format, const char* reason) {
  fail(ExitCode::bad_data, "{}: not a complete {} file ({}); copy or compress it again", path.string(), format, reason);
}

class GzipSource : public ByteSource {
 public:
  explicit GzipSource(const std::filesystem::path& path) : path_(path), input_(path) {
    ensure(inflateInit2(&stream_, 16 + MAX_WBITS) == Z_OK, "zlib has memory");  // 16: gzip headers only
  }
  ~GzipSource() override { inflateEnd(&stream_); }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;

  std::size_t read(std::span<char> buffer) override {
    stream_.next_out = reinterpret_cast<Bytef*>(buffer.data());  // NOLINT(*-reinterpret-cast): the C API
    stream_.avail_out = static_cast<uInt>(buffer.size());
    while (stream_.avail_out == buffer.size() && input_.refill()) {
      step();
    }
    const std::size_t got = buffer.size() - stream_.avail_out;
    if (got == 0 && !at_end_of_member_) {
      damaged(path_, "gzip", "it ends too early");
    }
    return got;
  }

 private:
  void step() {
    if (std::exchange(at_end_of_member_, false)) {
      inflateReset(&stream_);
    }
    const std::span<const char> pending = input_.pending();
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(pending.data()));  // NOLINT: zlib does not write it
    stream_.avail_in = static_cast<uInt>(pending.size());
    const int status = inflate(&stream_, Z_NO_FLUSH);
    input_.consumed(pending.size() - stream_.avail_in);
    if (status == Z_STREAM_END) {
      at_end_of_member_ = true;
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      damaged(path_, "gzip", stream_.msg != nullptr ? stream_.msg : "unknown reason");
    }
  }

  std::filesystem::path path_;
  CompressedInput input_;
  z_stream stream_{};
  bool at_end_of_member_ = false;
};

class ZstdSource : public ByteSource {
 public:
  explicit ZstdSource(const std::filesystem::path& path)
      : path_(path), input_(path), stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {
    ensure(stream_ != nullptr, "zstd has memory");
  }

  std::size_t read(std::span<char> buffer) override {
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    // A full output buffer may leave decompressed bytes inside the stream, so it is asked before the file.
    do {
      const std::span<const char> pending = input_.pending();
      ZSTD_inBuffer in{pending.data(), pending.size(), 0};
      if (pending.empty() && frame_left_ == 0) {
        continue;
      }
      frame_left_ = ZSTD_decompressStream(stream_.get(), &out, &in);
      input_.consumed(in.pos);
      if (ZSTD_isError(frame_left_) != 0) {
        damaged(path_, "zstd", ZSTD_getErrorName(frame_left_));
      }
    } while (out.pos == 0 && input_.refill());
    if (out.pos == 0 && frame_left_ != 0) {
      damaged(path_, "zstd", "it ends too early");
    }
    return out.pos;
  }

 private:
  std::filesystem::path path_;
  CompressedInput input_;
  std::unique_ptr<ZSTD_DStream, decltype(&ZSTD_freeDStream)> stream_;
  std::size_t frame_left_ = 0;  // 0 between frames
};

}  // namespace

bool is_compressed(const std::filesystem::path& path) {
  return path.extension() == ".gz" || path.extension() == ".zst";
}

std::unique_ptr<ByteSource> open_bytes(const std::filesystem::path& path) {
  if (path.extension() == ".gz") {
    return std::make_unique<GzipSource>(path);
  }
  if (path.extension() == ".zst") {
    return std::make_unique<ZstdSource>(path);
  }
  return std::make_unique<PlainSource>(path);
}

std::string read_decompressed(const std::filesystem::path& path) {
  const std::unique_ptr<ByteSource> source = open_bytes(path);
  std::string text;
  std::size_t size = 0;
  for (std::size_t got = 1; got > 0; size += got) {
    text.resize(size + bytes_per_read);
    got = source->read(std::span(text).subspan(size));
  }
  text.resize(size);
  return text;
}

LineReader::LineReader(const std::filesystem::path& path) : path_(path), source_(open_bytes(path)) {}

bool LineReader::refill() {
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (buffer_.size() > longest_line_bytes) {
    fail(ExitCode::bad_data, "{}:{}: the line is longer than {} bytes; is this a text file?", path_.string(),
         number_ + 1, longest_line_bytes);
  }
  const std::size_t held = buffer_.size();
  buffer_.resize(held + bytes_per_read);
  const std::size_t got = source_->read(std::span(buffer_).subspan(held));
  buffer_.resize(held + got);
  return got > 0;
}

std::optional<std::string_view> LineReader::next() {
  std::size_t searched = 0;  // bytes behind begin_ known to hold no line end
  std::size_t end = std::string::npos;
  while ((end = buffer_.find('\n', begin_ + searched)) == std::string::npos) {
    searched = buffer_.size() - begin_;
    if (!refill()) {
      break;
    }
  }
  const std::size_t length = end == std::string::npos ? buffer_.size() - begin_ : end + 1 - begin_;
  if (length == 0) {
    return std::nullopt;
  }
  const std::string_view line(buffer_.data() + begin_, length);
  begin_ += length;
  ++number_;
  return line;
}

std::string LineReader::place() const {
  return fmt::format("{}:{}", path_.string(), number_);
}

std::string_view without_line_end(std::string_view line) {
  if (line.ends_with('\n')) {
    line.remove_suffix(1);
  }
  if (line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  return line;
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace hrm::io
