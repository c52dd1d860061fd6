#include "io/run_lock.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
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
  object["pid"] = holder.pid;
  object["process_start"] = holder.process_start;
  object["job_id"] = holder.job_id;
  object["restart"] = holder.restart;
  object["since"] = holder.since;
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
    holder.pid = object.value("pid", std::int64_t{0});
    holder.process_start = object.value("process_start", std::int64_t{0});
    holder.job_id = object.value("job_id", "");
    holder.restart = object.value("restart", std::int64_t{0});
    holder.since = object.value("since", "");
  } catch (const nlohmann::json::exception&) {
    return LockHolder{};
  }
  return holder;
}

bool is_alive(const LockHolder& holder) {
  const std::optional<std::int64_t> start = process_start(holder.pid);
  return start && (holder.process_start == 0 || *start == holder.process_start);
}

/// No process can still hold this lock.
bool is_stale(const LockHolder& holder, const LockHolder& self) {
  if (holder.boot_id == self.boot_id && !holder.boot_id.empty()) {
    return !is_alive(holder);
  }
  if (holder.host == self.host && !holder.boot_id.empty()) {
    return true;  // the host has been started anew since
  }
  // A batch system runs a job once at a time: a later start of the same job means that the earlier one has ended.
  return !self.job_id.empty() && holder.job_id == self.job_id && holder.restart < self.restart;
}

[[noreturn]] void refuse(const std::filesystem::path& path, const LockHolder& holder) {
  fail(ExitCode::cannot_create,
       "{}: the run folder is in use by process {} on host {} (job {}, run {}, since {}); wait for it, or remove the "
       "file "
       "if that process is certainly gone",
       path.string(), holder.pid, holder.host.empty() ? "unknown" : holder.host,
       holder.job_id.empty() ? "none" : holder.job_id, holder.run_id, holder.since);
}

/// Takes a stale lock away; false if another process was faster. The kernel's lock on the file decides between two
/// processes that both found it stale, and tells a holder that /proc does not show (another container).
bool remove_stale(const std::filesystem::path& path, const LockHolder& holder) {
  const RawFile file(path, RawFile::Mode::read);
  struct stat opened {};
  struct stat named {};
  if (::flock(file.descriptor(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      refuse(path, holder);
    }
  }
  if (::fstat(file.descriptor(), &opened) != 0 || ::stat(path.c_str(), &named) != 0 || opened.st_ino != named.st_ino) {
    return false;
  }
  return ::unlink(path.c_str()) == 0;
}

/// Makes the lock with its content in one stroke: a hard link never replaces. False if there is one already.
bool create_lock(const std::filesystem::path& path, const LockHolder& self, RawFile& held) {
  const std::filesystem::path temporary = temporary_name(path, fmt::format("{}-{}", self.host, self.pid));
  RawFile file(temporary, RawFile::Mode::create);
  file.append(to_text(self));
  file.sync();
  ::flock(file.descriptor(), LOCK_EX | LOCK_NB);  // where the file system has no locks, pid and start time must do
  const bool linked = ::link(temporary.c_str(), path.c_str()) == 0;
  const int error = errno;
  ::unlink(temporary.c_str());
  if (!linked && error != EEXIST) {
    fail(ExitCode::cannot_create, "{}: cannot make the lock: {}; choose a folder on another file system", path.string(),
         std::strerror(error));
  }
  if (linked) {
    held = std::move(file);
    sync_folder(path.parent_path());
  }
  return linked;
}

/// Locks that processes were killed over before they could take them. Those of processes that may still live stay: they
/// race for this lock.
void remove_dead_attempts(const std::filesystem::path& path, const LockHolder& self) {
  const std::string beginning = fmt::format(".{}.", lock_name);
  std::error_code ignored;  // what cannot be listed is in nobody's way
  for (const auto& entry : std::filesystem::directory_iterator(path.parent_path(), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(beginning) || !name.ends_with(".tmp")) {
      continue;
    }
    const std::optional<LockHolder> holder = read_holder(entry.path());
    if (holder && is_stale(*holder, self)) {
      ::unlink(entry.path().c_str());
    }
  }
}

}  // namespace

LockHolder this_process(const std::string& run_id) {
  LockHolder self;
  self.run_id = run_id;
  self.host = host_name();
  self.boot_id = first_line("/proc/sys/kernel/random/boot_id");
  self.pid = ::getpid();
  self.process_start = process_start(self.pid).value_or(0);
  self.job_id = environment("SLURM_JOB_ID");
  const std::string restart = environment("SLURM_RESTART_COUNT");
  self.restart = restart.empty() ? 0 : std::atoll(restart.c_str());
  self.since = utc_now();
  return self;
}

RunLock::RunLock(const std::filesystem::path& folder, const std::string& run_id)
    : path_(folder / lock_name), owner_(::getpid()) {
  const LockHolder self = this_process(run_id);
  for (int attempt = 0; attempt < attempts; ++attempt) {
    if (create_lock(path_, self, file_)) {
      remove_dead_attempts(path_, self);
      return;
    }
    const std::optional<LockHolder> holder = read_holder(path_);
    if (!holder) {
      continue;  // left just now
    }
    if (!is_stale(*holder, self)) {
      refuse(path_, *holder);
    }
    remove_stale(path_, *holder);
  }
  fail(ExitCode::cannot_create, "{}: several processes try to take this lock; start one of them", path_.string());
}

RunLock::~RunLock() {
  if (owner_ == ::getpid()) {  // not in a child that was forked meanwhile
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
