#pragma once
// A thread per rank that ends the job when the ranks make no progress: a peer that was stopped, killed or lost leaves
// the others waiting in a collective for ever otherwise.
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/timer.hpp"
#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "train/roll_call.hpp"

namespace hrm::train {

/// What a rank is doing.
struct Heartbeat {
  std::string_view section = "start";
  std::int64_t step = 0;
};

/// Seconds without a sign of life (comm/activity) that each section may take: watchdog.factor times the longest so far,
/// at least watchdog.least_seconds, and six times that in a section that was never left, whose length nothing is known
/// of.
class SectionLimits {
 public:
  explicit SectionLimits(const config::WatchdogConfig& config) : config_(config) {}
  double limit(std::string_view section) const;
  /// So long there was no sign of life.
  void took(std::string_view section, double seconds);
  void left(std::string_view section);

 private:
  struct Known {
    double longest = 0;
    bool left = false;
  };
  config::WatchdogConfig config_;
  std::map<std::string_view, Known, std::less<>> sections_;
};

/// A rank over its limit asks all where they are (RollCall), and they answer whether they are over theirs. It asks
/// again later where all are there and one is at work: that one is waited for. If there is no word from a rank, or all
/// wait, one rank says who waits where, hands that and the hosts of the silent ranks to the verdict, and the ranks end
/// their processes with 69. The thread calls neither MPI nor HDF5.
class Watchdog {
 public:
  using Verdict = std::function<void(const std::string& text, const std::string& silent_hosts)>;

  /// Collective (the ranks tell each other their hosts). `folder` need not exist.
  Watchdog(comm::Communicator& world, const config::WatchdogConfig& config, const std::filesystem::path& folder);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// The main thread begins `section` (a literal): the clock starts anew, as it does with every sign of life.
  void enter(std::string_view section, std::int64_t step);

  /// Called from the watchdog's thread, on the rank that speaks; empty: nobody is told but standard error.
  void set_verdict(Verdict verdict);

  /// Of this start, in the names of its files.
  const std::string& token() const { return token_; }

  /// What the speaker says; `answers` by rank.
  static std::string describe(const std::vector<Answer>& answers, const std::vector<std::string>& hosts);
  /// Hosts of ranks without a word, each once, joined by commas.
  static std::string silent_hosts(const std::vector<Answer>& answers, const std::vector<std::string>& hosts);

 private:
  void watch();
  Answer take_pulse(bool asleep);
  void attend(const Answer& mine);
  void judge();
  void restart_clock();
  [[noreturn]] void end_job(const std::vector<Answer>& answers);

  config::WatchdogConfig config_;
  int rank_;
  std::string token_;
  std::vector<std::string> hosts_;
  RollCall call_;
  double patience_;  ///< seconds that answers may take
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  Heartbeat now_;
  Timer since_;  ///< the last sign of life
  std::uint64_t notes_ = 0;
  SectionLimits limits_;
  std::optional<Timer> asked_;  ///< since this rank asked
  Timer looked_;
  std::mutex verdict_mutex_;
  Verdict verdict_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace hrm::train
