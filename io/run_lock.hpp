#pragma once
// The file `lock` of a run folder: one run at a time. On the same host a dead process's lock is stale at once; so is
// the lock of an earlier start of the same batch job.
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "io/disk.hpp"

namespace hrm::io {

/// Who holds a lock.
struct LockHolder {
  std::string run_id;
  std::string host;
  std::string boot_id;
  std::int64_t pid = 0;
  std::int64_t process_start = 0;  ///< clock ticks since boot, /proc/PID/stat field 22
  std::string job_id;
  std::int64_t restart = 0;  ///< SLURM_RESTART_COUNT
  std::string since;         ///< ISO 8601, UTC
};

/// This process.
LockHolder this_process(const std::string& run_id);

/// Held from construction to destruction, by one rank of the run.
class RunLock {
 public:
  /// Takes the lock durably; 73 naming the holder where another run holds it.
  RunLock(const std::filesystem::path& folder, const std::string& run_id);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  std::filesystem::path path_;
  RawFile file_;  ///< carries a flock, which dies with the process
  pid_t owner_;
};

/// Identity of a run folder: the run_id in its lock or status.json, empty where there is none; and a fresh one.
std::string stored_run_id(const std::filesystem::path& folder);
std::string new_run_id();

}  // namespace hrm::io
