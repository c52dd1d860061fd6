#include "io/run_lock.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <sstream>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "io/disk.hpp"
#include "io/status.hpp"

namespace hrm::io {
namespace {

constexpr const char* lock_name = "lock";
constexpr int attempts = 8;  // each lost race means that another process took or left the lock meanwhile

std::string first_line(const std::filesystem::path& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

/// Start time of a process in clock ticks since boot; nothing if there is no such process.
std::optional<std::int64_t> process_start(std::int64_t pid) {
  const std::string line = first_line(fmt::format("/proc/{}/stat", pid));
  const std::size_t after_name = line.rfind(')');  // the name may hold blanks and brackets
  if (after_name == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(line.substr(after_name + 1));
  std::string state;
  std::string skipped;
  fields >> state;
  for (int field = 4; field < 22; ++field) {
    fields >> skipped;
  }
  std::int64_t start = 0;
  fields >> start;
  return fields && state != "Z" ? std::optional(start) : std::nullopt;
}

std::string to_text(const LockHolder& holder) {
  nlohmann::ordered_json object;
  object["run_id"] = holder.run_id;
  object["host"] = holder.host;
  object["boot_id"] = holder.boot_id;
  object["pid_space"] = holder.pid_space;
  object["pid"] = holder.pid;
  object["process_start"] = holder.process_start;
  object["job_id"] = holder.job_id;
  object["restart"] = holder.restart;
  object["since"] = holder.since;
  object["start_id"] = holder.start_id;
  return object.dump(2) + '\n';
}

/// Holder in a lock file; nothing if it is no longer there, empty fields where it cannot be understood.
std::optional<LockHolder> read_holder(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    return std::nullopt;
  }
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  LockHolder holder;
  try {
    const nlohmann::json object = nlohmann::json::parse(text);
    holder.run_id = object.value("run_id", "");
    holder.host = object.value("host", "");
    holder.boot_id = object.value("boot_id", "");
    holder.pid_space = object.value("pid_space", "");
    holder.pid = object.value("pid", std::int64_t{0});
    holder.process_start = object.value("process_start", std::int64_t{0});
    holder.job_id = object.value("job_id", "");
    holder.restart = object.value("restart", std::int64_t{0});
    holder.since = object.value("since", "");
    holder.start_id = object.value("start_id", "");
  } catch (const nlohmann::json::exception&) {
    return LockHolder{};
  }
  return holder;
}

bool is_alive(const LockHolder& holder) {
  const std::optional<std::int64_t> start = process_start(holder.pid);
  return start && (holder.process_start == 0 || *start == holder.process_start);
}

/// Seconds since a file was written or touched, by the clock that stamps files: `now` is one that was touched just now.
double age(const std::filesystem::path& path, const RawFile& now) {
  struct stat then {};
  struct stat fresh {};
  if (::stat(path.c_str(), &then) != 0 || ::futimens(now.descriptor(), nullptr) != 0 ||
      ::fstat(now.descriptor(), &fresh) != 0) {
    return 0;
  }
  return static_cast<double>(fresh.st_mtim.tv_sec - then.st_mtim.tv_sec) +
         1e-9 * static_cast<double>(fresh.st_mtim.tv_nsec - then.st_mtim.tv_nsec);
}

/// No process can still hold this lock; `seconds` without a sign of life.
bool is_stale(const LockHolder& holder, const LockHolder& self, double seconds, const LockTimes& times) {
  const bool same_host = holder.boot_id == self.boot_id && !holder.boot_id.empty();
  if (same_host && (holder.pid_space == self.pid_space || holder.pid_space.empty())) {
    return !is_alive(holder);
  }
  if (holder.host == self.host && !holder.boot_id.empty() && !same_host && seconds > 2 * times.renewed_every) {
    return true;  // the host has been started anew since; containers on several nodes may share a name, but they renew
  }
  // A batch system runs a job once at a time: a later start of the same job means that the earlier one has ended.
  const bool earlier_start = !self.job_id.empty() && holder.job_id == self.job_id && holder.restart < self.restart;
  return earlier_start || seconds > times.stale_after;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const LockHolder& holder, double seconds,
                         const LockTimes& times) {
  fail(ExitCode::cannot_create,
       "{}: the run folder is in use by process {} on host {} (job {}, run {}, since {}; last sign of life {:.0f} s "
       "ago); wait for it: after {:.0f} s without a sign of life its lock is taken over. Or remove the file if that "
       "process is certainly gone",
       path.string(), holder.pid, holder.host.empty() ? "unknown" : holder.host,
       holder.job_id.empty() ? "none" : holder.job_id, holder.run_id, holder.since, seconds, times.stale_after);
}

/// Takes the lock of `stale` away. A rename has one winner, and what it got may be a lock that another process has just
/// made: that one is put back.
void take_away(const std::filesystem::path& path, const LockHolder& stale, const LockHolder& self) {
  const std::filesystem::path aside = temporary_name(path, "stale-" + self.start_id);
  ::rename(path.c_str(), aside.c_str());  // over NFS it may have happened and say that it has not
  const std::optional<LockHolder> taken = read_holder(aside);
  if (taken && *taken != stale) {
    (void)!::link(aside.c_str(), path.c_str());
  }
  ::unlink(aside.c_str());
}

/// Locks that processes were killed over before they could take them. Those of processes that may still live stay: they
/// race for this lock.
void remove_dead_attempts(const std::filesystem::path& path, const LockHolder& self, const RawFile& now,
                          const LockTimes& times) {
  const std::string beginning = fmt::format(".{}.", lock_name);
  std::error_code ignored;  // what cannot be listed is in nobody's way
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(beginning) || !name.ends_with(".tmp")) {
      continue;
    }
    const std::optional<LockHolder> holder = read_holder(entry.path());
    if (holder && is_stale(*holder, self, age(entry.path(), now), times)) {
      ::unlink(entry.path().c_str());
    }
  }
}

/// Gives the finished file its second name, which never replaces one. False if the name is taken.
bool give_name(const RawFile& file, const std::filesystem::path& path) {
  if (::link(file.path().c_str(), path.c_str()) == 0) {
    return true;
  }
  const int error = errno;
  struct stat info {};
  if (::fstat(file.descriptor(), &info) == 0 && info.st_nlink == 2) {
    return true;  // NFS: done, and only the answer was lost
  }
  if (error != EEXIST) {
    fail(ExitCode::cannot_create, "{}: cannot make the lock: {}; choose a folder on another file system", path.string(),
         std::strerror(error));
  }
  return false;
}

/// A file that goes when this does.
struct Temporary {
  RawFile file;
  ~Temporary() { ::unlink(file.path().c_str()); }
};

}  // namespace

LockHolder this_process(const std::string& run_id) {
  LockHolder self;
  self.run_id = run_id;
  self.host = host_name();
  self.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  std::error_code ignored;
  self.pid_space = std::filesystem::read_symlink("/proc/self/ns/pid", ignored).string();
  self.pid = ::getpid();
  self.process_start = process_start(self.pid).value_or(0);
  self.job_id = environment("SLURM_JOB_ID");
  const std::string restart = environment("SLURM_RESTART_COUNT");
  self.restart = restart.empty() ? 0 : std::atoll(restart.c_str());
  self.since = utc_now();
  self.start_id = new_run_id();
  return self;
}

RunLock::RunLock(const std::filesystem::path& folder, const std::string& run_id, Lost lost, LockTimes times)
    : path_(folder / lock_name), self_(this_process(run_id)), lost_(std::move(lost)), times_(times) {
  take();
  thread_ = std::thread([this] { renew(); });
}

void RunLock::take() {
  Temporary own{RawFile(temporary_name(path_, self_.start_id), RawFile::Mode::create)};
  own.file.append(to_text(self_));
  own.file.sync();
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (give_name(own.file, path_)) {
      sync_folder(path_.parent_path());
      remove_dead_attempts(path_, self_, own.file, times_);
      return;
    }
    const std::optional<LockHolder> holder = read_holder(path_);
    if (!holder) {
      continue;  // left just now
    }
    const double seconds = age(path_, own.file);
    if (!is_stale(*holder, self_, seconds, times_)) {
      refuse(path_, *holder, seconds, times_);
    }
    take_away(path_, *holder, self_);
  }
  fail(ExitCode::cannot_create, "{}: several processes try to take this lock; start one of them", path_.string());
}

/// Where the file cannot be read nobody else has it either, as far as anybody can tell.
bool RunLock::still_ours() {
  const std::optional<LockHolder> holder = read_holder(path_);
  return !holder || holder->start_id.empty() || holder->start_id == self_.start_id;
}

void RunLock::renew() {
  std::unique_lock lock(mutex_);
  const std::chrono::duration<double> interval(times_.renewed_every);
  while (!changed_.wait_for(lock, interval, [this] { return ends_; })) {
    if (still_ours()) {
      ::utimensat(AT_FDCWD, path_.c_str(), nullptr, 0);
    } else if (lost_) {
      lost_(fmt::format("{}: another run has taken the folder over, for this one gave no sign of life for {:.0f} s",
                        path_.string(), times_.stale_after));
      return;
    }
  }
}

RunLock::~RunLock() {
  if (self_.pid != ::getpid()) {
    thread_.detach();  // a child that was forked meanwhile has neither the thread nor the lock
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.join();
  if (still_ours()) {
    ::unlink(path_.c_str());
  }
}

std::string stored_run_id(const std::filesystem::path& folder) {
  if (const std::optional<LockHolder> holder = read_holder(folder / lock_name)) {
    if (!holder->run_id.empty()) {
      return holder->run_id;
    }
  }
  const std::optional<Status> status = read_status(folder);
  return status ? status->run_id : "";
}

std::string new_run_id() {
  std::random_device device;
  const std::uint64_t high = device();
  return hex((high << 32) | device());
}

}  // namespace hrm::io
