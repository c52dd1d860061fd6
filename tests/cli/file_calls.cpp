// Preloaded into the program under test (LD_PRELOAD): notes what it does to files that matter, in the order in which
// the machine's ranks did it, and makes the disk slow or faulty if asked to.
//   FILE_CALLS_LOG    one line a call: NANOSECONDS PID CALL PATH [NEW PATH], for paths in FILE_CALLS_FOLDER
//   FILE_CALLS_SLEEP, FILE_CALLS_SLEEP_WRITE  milliseconds that each fsync and each pwrite there takes longer
//   FILE_CALLS_FAIL_NAME, FILE_CALLS_FAIL_AT, FILE_CALLS_FAIL_COUNT  of a process's pwrites to files there whose path
//                     holds the name, so many from this number on (the first is 1) fail with EIO
//   FILE_CALLS_NO_DIRECT  if set, writes past the page cache (O_DIRECT) are refused there, as some file systems do
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace {

template <class Function>
Function real(Function, const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));  // NOLINT(*-reinterpret-cast): how dlsym is used
}

bool watched(const std::string& path) {
  static const char* folder = std::getenv("FILE_CALLS_FOLDER");
  return folder != nullptr && path.starts_with(folder);
}

std::string path_of(int descriptor) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  const ssize_t length = ::readlink(link.c_str(), path, sizeof path);
  return length > 0 ? std::string(path, static_cast<std::size_t>(length)) : "";
}

void note(const char* call, const std::string& path, const std::string& other = "") {
  static const char* log = std::getenv("FILE_CALLS_LOG");
  if (log == nullptr || !watched(path)) {
    return;
  }
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  char line[2 * PATH_MAX + 100];
  const int length = std::snprintf(line, sizeof line, "%lld\t%d\t%s\t%s\t%s\n", now.tv_sec * 1000000000LL + now.tv_nsec,
                                   ::getpid(), call, path.c_str(), other.c_str());
  static const auto real_write = real(&::write, "write");
  const int file = ::open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file >= 0 && real_write(file, line, static_cast<std::size_t>(length)) != length) {
    std::abort();
  }
  ::close(file);
}

void be_slow(const char* milliseconds, const std::string& path) {
  if (milliseconds != nullptr && watched(path)) {
    ::usleep(static_cast<useconds_t>(std::atoi(milliseconds)) * 1000);
  }
}

bool refuses(int descriptor, const std::string& path) {
  static const bool no_direct = std::getenv("FILE_CALLS_NO_DIRECT") != nullptr;
  return no_direct && watched(path) && (::fcntl(descriptor, F_GETFL) & O_DIRECT) != 0;
}

bool fails(const std::string& path) {
  static const char* name = std::getenv("FILE_CALLS_FAIL_NAME");
  if (name == nullptr || !watched(path) || path.find(name) == std::string::npos) {
    return false;
  }
  static const int first = std::atoi(std::getenv("FILE_CALLS_FAIL_AT"));
  static const int count = std::atoi(std::getenv("FILE_CALLS_FAIL_COUNT"));
  static std::atomic<int> calls = 0;
  const int number = ++calls;
  return number >= first && number < first + count;
}

}  // namespace

extern "C" {

// A call is noted when it is over: what a later line needs is done by then.
int fsync(int descriptor) {
  static const auto real_fsync = real(&::fsync, "fsync");
  static const char* milliseconds = std::getenv("FILE_CALLS_SLEEP");
  be_slow(milliseconds, path_of(descriptor));
  const int result = real_fsync(descriptor);
  note(result == 0 ? "fsync" : "fsync failed", path_of(descriptor));
  return result;
}

ssize_t write(int descriptor, const void* data, size_t size) {
  static const auto real_write = real(&::write, "write");
  const ssize_t result = real_write(descriptor, data, size);
  note("write", path_of(descriptor));
  return result;
}

ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  static const auto real_pwrite = real(&::pwrite, "pwrite");
  if (refuses(descriptor, path_of(descriptor))) {
    note("refused", path_of(descriptor));
    errno = EINVAL;
    return -1;
  }
  if (fails(path_of(descriptor))) {
    note("failed", path_of(descriptor));
    errno = EIO;
    return -1;
  }
  static const char* milliseconds = std::getenv("FILE_CALLS_SLEEP_WRITE");
  be_slow(milliseconds, path_of(descriptor));
  const ssize_t result = real_pwrite(descriptor, data, size, offset);
  note("write", path_of(descriptor));
  return result;
}

ssize_t pwrite64(int descriptor, const void* data, size_t size, off64_t offset) {
  return ::pwrite(descriptor, data, size, offset);
}

// Noted before it happens: what it needs must be done by then.
int rename(const char* from, const char* to) {
  static const auto real_rename = real(&::rename, "rename");
  note("rename", from, to);
  return real_rename(from, to);
}
}
