#pragma once
// The file `lock` of a run folder: one run at a time, on any file system that renames and links in one stroke.
//
// Whether its holder still lives: on the same host the process table says so; an earlier start of the same batch job is
// over; of all others the file's age decides, which the holder renews while its process lives. A holder that was held
// up for longer than that finds another's lock on its return, and gives way.
#include <sys/types.h>

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace hrm::io {

/// Who holds a lock.
struct LockHolder {
  std::string run_id;
  std::string host;
  std::string boot_id;
  std::string pid_space;  ///< /proc/self/ns/pid: whose process table pid belongs to
  std::int64_t pid = 0;
  std::int64_t process_start = 0;  ///< clock ticks since boot, /proc/PID/stat field 22
  std::string job_id;
  std::int64_t restart = 0;  ///< SLURM_RESTART_COUNT
  std::string since;         ///< ISO 8601, UTC
  std::string start_id;      ///< random: no two starts are taken for one
  bool operator==(const LockHolder&) const = default;
};

/// This process.
LockHolder this_process(const std::string& run_id);

/// Seconds.
struct LockTimes {
  double renewed_every = 15;
  double stale_after = 180;  ///< of a holder that cannot be asked
};

/// Held from construction to destruction, by one rank of the run.
class RunLock {
 public:
  /// Called with one line, from a thread of its own, when another process has taken the lock.
  using Lost = std::function<void(const std::string& reason)>;

  /// Takes the lock durably; 73 naming the holder where another run holds it.
  RunLock(const std::filesystem::path& folder, const std::string& run_id, Lost lost = {}, LockTimes times = {});
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  void take();
  bool still_ours();
  void renew();

  std::filesystem::path path_;
  LockHolder self_;
  Lost lost_;
  LockTimes times_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ends_ = false;
  std::thread thread_;  ///< last: it uses all of the above
};

/// Identity of a run folder: the run_id in its lock or status.json, empty where there is none; and a fresh one.
std::string stored_run_id(const std::filesystem::path& folder);
std::string new_run_id();

}  // namespace hrm::io
