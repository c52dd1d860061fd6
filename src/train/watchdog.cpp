#include "train/watchdog.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <set>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/activity.hpp"
#include "io/disk.hpp"

namespace hrm::train {
namespace {

constexpr double unknown_length = 6;
/// Ranks notice within moments of each other; the speaker waits for the notes of the others, and they for its words.
constexpr auto patience = std::chrono::seconds(3);
constexpr unsigned last_resort_seconds = 30;
/// A tick that took longer than that is sleep, not a slow machine.
constexpr double asleep_ticks = 3;
constexpr double asleep_seconds = 2;

/// As the batch system calls this node, for that is what it can be asked to avoid.
std::string node_name() {
  const std::string name = environment("SLURMD_NODENAME");
  return name.empty() ? io::host_name() : name;
}

}  // namespace

double SectionLimits::limit(std::string_view section) const {
  const auto found = longest_.find(section);
  if (found == longest_.end()) {
    return unknown_length * config_.least_seconds;
  }
  return std::max(config_.least_seconds, config_.factor * found->second);
}

void SectionLimits::took(std::string_view section, double seconds) {
  double& longest = longest_[section];
  longest = std::max(longest, seconds);
}

Watchdog::Watchdog(comm::Communicator& world, const config::WatchdogConfig& config, std::filesystem::path folder,
                   Verdict verdict)
    : config_(config),
      folder_(std::move(folder)),
      verdict_(std::move(verdict)),
      rank_(world.rank()),
      hosts_(world.gather(node_name())),
      limits_(config) {
  std::error_code ignored;
  std::filesystem::remove(note_file(rank_), ignored);
  if (config_.enabled && world.size() > 1) {
    thread_ = std::thread([this] { watch(); });
  }
}

Watchdog::~Watchdog() {
  if (thread_.joinable()) {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_one();
    thread_.join();
  }
}

void Watchdog::enter(std::string_view section, std::int64_t step) {
  const std::lock_guard lock(mutex_);
  limits_.took(now_.section, since_.restart());
  now_ = {section, step};
}

void Watchdog::watch() {
  const auto interval = std::chrono::duration<double>(std::min(1.0, config_.least_seconds / 4));
  std::unique_lock lock(mutex_);
  Timer tick;
  while (!stop_.wait_for(lock, interval, [this] { return stopping_; })) {
    if (tick.restart() > asleep_ticks * interval.count() + asleep_seconds) {
      since_.restart();  // the whole process was asleep (a suspended job): its peers were too
      continue;
    }
    const double seconds = since_.seconds();
    if (seconds > limits_.limit(now_.section)) {
      end_job(fmt::format("in {} of step {} for {:.0f} s, last in {}", now_.section, now_.step, seconds,
                          comm::last_operation()));
    }
  }
}

std::filesystem::path Watchdog::note_file(int rank) const {
  return folder_ / fmt::format(".waiting-{}", rank);
}

std::vector<std::string> Watchdog::read_notes() const {
  std::vector<std::string> notes;
  for (int rank = 0; rank < static_cast<int>(hosts_.size()); ++rank) {
    std::ifstream file(note_file(rank));
    notes.emplace_back();
    std::getline(file, notes.back());
  }
  return notes;
}

std::string Watchdog::describe(const std::vector<std::string>& notes, const std::vector<std::string>& hosts) {
  std::string waiting;
  std::string silent;
  for (std::size_t rank = 0; rank < notes.size(); ++rank) {
    const std::string who = fmt::format("rank {} on {}", rank, hosts[rank]);
    if (notes[rank].empty()) {
      silent += (silent.empty() ? "" : ", ") + who;
    } else {
      waiting += fmt::format("\n  {} waits {}", who, notes[rank]);
    }
  }
  return fmt::format("no progress: {}{}", silent.empty() ? "every rank waits" : "no word from " + silent, waiting);
}

std::string Watchdog::silent_hosts(const std::vector<std::string>& notes, const std::vector<std::string>& hosts) {
  std::set<std::string> silent;
  for (std::size_t rank = 0; rank < notes.size(); ++rank) {
    if (notes[rank].empty()) {
      silent.insert(hosts[rank]);
    }
  }
  return fmt::format("{}", fmt::join(silent, ","));
}

void Watchdog::end_job(const std::string& note) {
  // The run folder may be what hangs: the end must not wait for it.
  std::signal(SIGALRM, [](int) { _exit(static_cast<int>(ExitCode::lost_peer)); });
  alarm(last_resort_seconds);
  std::ofstream(note_file(rank_)) << note << '\n';
  std::this_thread::sleep_for(patience);
  const std::vector<std::string> notes = read_notes();
  const auto speaker = std::find_if(notes.begin(), notes.end(), [](const auto& text) { return !text.empty(); });
  if (speaker - notes.begin() >= rank_) {  // ours, or nobody's where the folder is out of reach
    const std::string text = describe(notes, hosts_);
    std::fputs(fmt::format("hrm: error: {}\nrun again with --resume auto\n", text).c_str(), stderr);
    std::fflush(stderr);
    verdict_(text, silent_hosts(notes, hosts_));
  } else {
    std::this_thread::sleep_for(2 * patience);
  }
  _exit(static_cast<int>(ExitCode::lost_peer));
}

}  // namespace hrm::train
