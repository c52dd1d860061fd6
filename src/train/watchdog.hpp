#pragma once
// A thread per rank that ends the job when the rank makes no progress: a peer that was stopped, killed or lost leaves
// the others waiting in a collective for ever otherwise.
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/timer.hpp"
#include "comm/communicator.hpp"
#include "config/run_config.hpp"

namespace hrm::train {

/// What a rank is doing.
struct Heartbeat {
  std::string_view section = "start";
  std::int64_t step = 0;
};

/// Seconds that each section may take: watchdog.factor times the longest so far, at least watchdog.least_seconds; six
/// times that for sections whose length nothing is known of (a section's first time).
class SectionLimits {
 public:
  explicit SectionLimits(const config::WatchdogConfig& config) : config_(config) {}
  double limit(std::string_view section) const;
  void took(std::string_view section, double seconds);

 private:
  config::WatchdogConfig config_;
  std::map<std::string_view, double, std::less<>> longest_;
};

/// On expiry a rank leaves a note in the run folder. The lowest rank that left one waits a moment, says once which
/// ranks wait where and of which there is no word, hands that text and the hosts of the silent ranks to `verdict`, and
/// ends the process with 69; the others follow. The thread calls neither MPI nor HDF5.
class Watchdog {
 public:
  using Verdict = std::function<void(const std::string& text, const std::string& silent_hosts)>;

  /// Collective (the ranks tell each other their hosts). `verdict` is called from the watchdog's thread.
  Watchdog(comm::Communicator& world, const config::WatchdogConfig& config, std::filesystem::path folder,
           Verdict verdict);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// The main thread begins `section` (a literal): the clock starts anew.
  void enter(std::string_view section, std::int64_t step);

  /// What the speaker says; `notes` by rank, empty where there is none.
  static std::string describe(const std::vector<std::string>& notes, const std::vector<std::string>& hosts);
  /// Hosts of ranks without a note, each once, joined by commas.
  static std::string silent_hosts(const std::vector<std::string>& notes, const std::vector<std::string>& hosts);

 private:
  void watch();
  [[noreturn]] void end_job(const std::string& note);
  std::filesystem::path note_file(int rank) const;
  std::vector<std::string> read_notes() const;

  config::WatchdogConfig config_;
  std::filesystem::path folder_;
  Verdict verdict_;
  int rank_;
  std::vector<std::string> hosts_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  Heartbeat now_;
  Timer since_;
  SectionLimits limits_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace hrm::train
