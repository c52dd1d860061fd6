#include "io/disk.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "comm/activity.hpp"

namespace hrm::io {
namespace {

constexpr std::size_t largest_transfer = std::size_t{1} << 30;  // Linux moves at most 2 GiB a call

std::string system_words() {
  return std::strerror(errno);
}

int open_flags(RawFile::Mode mode) {
  switch (mode) {
    case RawFile::Mode::read:
      return O_RDONLY | O_CLOEXEC;
    case RawFile::Mode::write:
      return O_RDWR | O_CLOEXEC;
    case RawFile::Mode::append:
      return O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC;
    case RawFile::Mode::create:
      return O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC;
    case RawFile::Mode::direct:
      return O_WRONLY | O_DIRECT | O_CLOEXEC;
  }
  throw InternalError("RawFile: unknown mode");
}

ExitCode open_failure(RawFile::Mode mode) {
  if (mode == RawFile::Mode::append || mode == RawFile::Mode::create) {
    return ExitCode::cannot_create;
  }
  return errno == ENOENT ? ExitCode::no_input : ExitCode::io_error;
}

[[noreturn]] void fail_write(const std::filesystem::path& path) {
  if (errno == ENOSPC || errno == EDQUOT) {
    fail(ExitCode::io_error, "{}: no room left on the disk ({}); free some space and run again", path.string(),
         system_words());
  }
  fail(ExitCode::io_error, "{}: cannot write: {}; check the file system", path.string(), system_words());
}

}  // namespace

RawFile::RawFile(const std::filesystem::path& path, Mode mode) : RawFile(try_open(path, mode)) {
  if (!is_open()) {
    const ExitCode code = open_failure(mode);
    fail(code, "{}: cannot open: {}; check the path and its permissions", path.string(), system_words());
  }
}

RawFile RawFile::try_open(const std::filesystem::path& path, Mode mode) {
  RawFile file;
  file.path_ = path;
  file.fd_ = ::open(path.c_str(), open_flags(mode), 0666);
  return file;
}

RawFile::RawFile(RawFile&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}

RawFile& RawFile::operator=(RawFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  return *this;
}

RawFile::~RawFile() {
  close();
}

void RawFile::close() noexcept {
  if (fd_ >= 0) {
    ::close(std::exchange(fd_, -1));
  }
}

void RawFile::finish() {
  if (::close(std::exchange(fd_, -1)) != 0 && errno != EINTR) {
    fail_write(path_);
  }
}

std::int64_t RawFile::size() const {
  struct stat info {};
  if (::fstat(fd_, &info) != 0) {
    fail(ExitCode::io_error, "{}: cannot tell its size: {}", path_.string(), system_words());
  }
  if (!S_ISREG(info.st_mode)) {
    fail(ExitCode::bad_data, "{}: is not a regular file; give a file", path_.string());
  }
  return info.st_size;
}

void RawFile::read_at(std::int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), std::min(out.size(), largest_transfer), offset);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      fail(ExitCode::io_error, "{}: cannot read at byte {}: {}; check the file system", path_.string(), offset,
           system_words());
    }
    if (got == 0) {
      fail(ExitCode::bad_data, "{}: ends at byte {} before its data do; restore it from a copy", path_.string(),
           offset);
    }
    comm::note_progress();
    offset += got;
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

void RawFile::write_at(std::int64_t offset, std::span<const std::byte> data) {
  if (write_direct(offset, data) < data.size()) {
    fail_write(path_);
  }
}

std::size_t RawFile::write_direct(std::int64_t offset, std::span<const std::byte> data) {
  std::size_t written = 0;
  while (written < data.size()) {
    const std::span rest = data.subspan(written);
    const ssize_t done = ::pwrite(fd_, rest.data(), std::min(rest.size(), largest_transfer),
                                  offset + static_cast<std::int64_t>(written));
    if (done < 0 && errno == EINTR) {
      continue;
    }
    if (done < 0 && errno == EINVAL) {
      break;
    }
    if (done < 0) {
      fail_write(path_);
    }
    comm::note_progress();
    written += static_cast<std::size_t>(done);
  }
  return written;
}

void RawFile::append(std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd_, text.data(), text.size());
    if (done < 0 && errno == EINTR) {
      continue;
    }
    if (done < 0) {
      fail_write(path_);
    }
    text.remove_prefix(static_cast<std::size_t>(done));
  }
}

void RawFile::truncate(std::int64_t bytes) {
  if (::ftruncate(fd_, bytes) != 0) {
    fail_write(path_);
  }
}

void RawFile::reserve(std::int64_t bytes) {
  // Not posix_fallocate: where the file system cannot reserve, glibc would write every block instead.
  if (::fallocate(fd_, 0, 0, bytes) != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
    fail_write(path_);
  }
}

void RawFile::sync() {
  const comm::LongCall call;
  if (::fsync(fd_) != 0) {
    fail_write(path_);
  }
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error || !std::filesystem::is_directory(folder)) {
    fail(ExitCode::cannot_create, "{}: cannot make this folder: {}; choose another place", folder.string(),
         error ? error.message() : "a file of that name is in the way");
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    fail(ExitCode::cannot_create, "{}: cannot write into this folder: {}; choose another place", folder.string(),
         system_words());
  }
}

std::int64_t free_bytes(const std::filesystem::path& folder) {
  struct statvfs info {};
  if (::statvfs(folder.c_str(), &info) != 0) {
    fail(ExitCode::cannot_create, "{}: cannot tell the free space: {}", folder.string(), system_words());
  }
  return static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
}

void require_space(const std::filesystem::path& folder, std::int64_t bytes, std::string_view what) {
  const std::int64_t room = free_bytes(folder);
  if (room < bytes) {
    fail(ExitCode::cannot_create, "{}: {} needs {} bytes, the file system has {} left; free some space",
         folder.string(), what, bytes, room);
  }
}

std::filesystem::path temporary_name(const std::filesystem::path& path, std::string_view tag) {
  return path.parent_path() / fmt::format(".{}.{}.tmp", path.filename().string(), tag);
}

void sync_folder(const std::filesystem::path& folder) {
  const std::filesystem::path place = folder.empty() ? "." : folder;
  const int fd = ::open(place.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const comm::LongCall call;
  const bool synced = fd >= 0 && (::fsync(fd) == 0 || errno == EINVAL);  // EINVAL: this file system needs no sync
  const std::string words = system_words();
  if (fd >= 0) {
    ::close(fd);
  }
  if (!synced) {
    fail(ExitCode::io_error, "{}: cannot sync the folder: {}", place.string(), words);
  }
}

void publish(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    fail(ExitCode::cannot_create, "{}: cannot rename {} to it: {}", path.string(), temporary.filename().string(),
         system_words());
  }
  sync_folder(path.parent_path());
}

void replace_file(const std::filesystem::path& path, std::string_view text, bool durable, std::string_view tag) {
  std::error_code error;
  const auto place = std::filesystem::symlink_status(path, error);
  if (std::filesystem::exists(place) && !std::filesystem::is_regular_file(place)) {
    RawFile(path, RawFile::Mode::create).append(text);
    return;
  }
  const std::filesystem::path temporary = temporary_name(path, tag);
  RawFile file(temporary, RawFile::Mode::create);
  file.append(text);
  if (durable) {
    file.sync();
  }
  file.close();
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    fail(ExitCode::cannot_create, "{}: cannot replace it: {}", path.string(), system_words());
  }
  if (durable) {
    sync_folder(path.parent_path());
  }
}

std::string read_text(const std::filesystem::path& path) {
  const RawFile file(path, RawFile::Mode::read);
  std::string text(static_cast<std::size_t>(file.size()), '\0');
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string utc_now() {
  return utc_after(0);
}

std::string utc_after(double seconds) {
  const std::time_t now = std::time(nullptr) + static_cast<std::time_t>(seconds);
  std::tm parts{};
  ::gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace hrm::io
