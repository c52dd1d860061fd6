#include "train/watchdog.hpp"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <set>

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/activity.hpp"
#include "io/disk.hpp"
#include "io/run_lock.hpp"

namespace hrm::train {
namespace {

constexpr double unknown_length = 6;
/// A disk that is made to keep what it has been given may take as long as the whole save: that is no hang yet.
constexpr double long_call = 10;
/// Answers are due in half of watchdog.least_seconds, within these bounds: nodes may see a shared folder a minute late.
constexpr double least_patience = 3;
constexpr double most_patience = 60;
constexpr double looks_per_patience = 4;
constexpr unsigned last_resort_seconds = 30;
/// A tick that took longer than that is sleep, not a slow machine.
constexpr double asleep_ticks = 3;
constexpr double asleep_seconds = 2;

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

/// As the batch system calls this node, for that is what it can be asked to avoid.
std::string node_name() {
  const std::string name = environment("SLURMD_NODENAME");
  return name.empty() ? io::host_name() : name;
}

/// Ends the process with 69 if it lives longer than this: the run folder may be what hangs.
class LastResort {
 public:
  explicit LastResort(double seconds) { alarm(static_cast<unsigned>(seconds) + 1); }
  ~LastResort() { alarm(0); }
  LastResort(const LastResort&) = delete;
  LastResort& operator=(const LastResort&) = delete;
};

}  // namespace

double SectionLimits::limit(std::string_view section) const {
  const auto found = sections_.find(section);
  const Known known = found == sections_.end() ? Known{} : found->second;
  return (comm::in_long_call() ? long_call : 1) *
         std::max((known.left ? 1 : unknown_length) * config_.least_seconds, config_.factor * known.longest);
}

void SectionLimits::took(std::string_view section, double seconds) {
  double& longest = sections_[section].longest;
  longest = std::max(longest, seconds);
}

void SectionLimits::left(std::string_view section) {
  sections_[section].left = true;
}

Watchdog::Watchdog(comm::Communicator& world, const config::WatchdogConfig& config, const std::filesystem::path& folder)
    : config_(config),
      rank_(world.rank()),
      token_(comm::broadcast_text(world, io::new_run_id())),
      hosts_(world.gather(node_name())),
      call_(folder, token_, world.rank(), world.size()),
      patience_(std::clamp(config.least_seconds / 2, least_patience, most_patience)),
      limits_(config) {
  if (config_.enabled && world.size() > 1) {
    std::signal(SIGALRM, [](int) { _exit(static_cast<int>(ExitCode::lost_peer)); });
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
  if (section != now_.section) {
    limits_.left(now_.section);
  }
  now_ = {section, step};
  notes_ = comm::notes();
}

void Watchdog::set_verdict(Verdict verdict) {
  const std::lock_guard lock(verdict_mutex_);  // held to the end of the process by who speaks
  verdict_ = std::move(verdict);
}

void Watchdog::watch() {
  const auto interval = std::chrono::duration<double>(std::min(1.0, config_.least_seconds / 4));
  std::unique_lock lock(mutex_);
  Timer tick;
  while (!stop_.wait_for(lock, interval, [this] { return stopping_; })) {
    const Answer mine = take_pulse(tick.restart() > asleep_ticks * interval.count() + asleep_seconds);
    lock.unlock();
    if (mine.waits || asked_ || looked_.seconds() > patience_ / looks_per_patience) {
      looked_.restart();
      const LastResort end(mine.waits ? patience_ + last_resort_seconds : unknown_length * config_.least_seconds);
      attend(mine);
    }
    tick.restart();  // a slow folder is no sleep
    lock.lock();
  }
}

/// `asleep`: the whole process was (a suspended job), and its peers too.
Answer Watchdog::take_pulse(bool asleep) {
  if (const std::uint64_t notes = comm::notes(); notes != notes_) {
    limits_.took(now_.section, since_.restart());
    notes_ = notes;
  } else if (asleep) {
    since_.restart();
  }
  const double seconds = since_.seconds();
  return {seconds > limits_.limit(now_.section),
          fmt::format("in {} of step {} for {:.0f} s, last in {}{}", now_.section, now_.step, seconds,
                      comm::last_operation(), comm::in_long_call() ? ", while a file is being made durable" : "")};
}

void Watchdog::attend(const Answer& mine) {
  if (mine.waits && !asked_) {
    asked_.emplace();
    if (!call_.ask()) {
      sleep_for(patience_);
      std::vector<Answer> alone(hosts_.size());
      alone[static_cast<std::size_t>(rank_)] = mine;
      end_job(alone);
    }
  }
  if (!call_.is_open()) {
    if (asked_) {  // another rank found no need
      restart_clock();
    }
    return;
  }
  call_.answer(mine);
  if (call_.word_is_taken()) {
    end_job(call_.answers());
  }
  if (asked_ && !mine.waits) {
    call_.close();  // it goes on
    asked_.reset();
  } else if (asked_ && asked_->seconds() > patience_) {
    judge();
  }
}

void Watchdog::judge() {
  const std::vector<Answer> answers = call_.answers();
  const auto silent = [](const Answer& answer) { return answer.text.empty(); };
  const auto waits = [](const Answer& answer) { return answer.waits; };
  if (std::ranges::any_of(answers, silent) || std::ranges::all_of(answers, waits)) {
    end_job(answers);
  }
  call_.close();  // somebody is at work
  restart_clock();
}

void Watchdog::restart_clock() {
  asked_.reset();
  const std::lock_guard lock(mutex_);
  since_.restart();
}

std::string Watchdog::describe(const std::vector<Answer>& answers, const std::vector<std::string>& hosts) {
  std::string there;
  std::string silent;
  for (std::size_t rank = 0; rank < answers.size(); ++rank) {
    const Answer& answer = answers[rank];
    const std::string who = fmt::format("rank {} on {}", rank, hosts[rank]);
    if (answer.text.empty()) {
      silent += (silent.empty() ? "" : ", ") + who;
    } else {
      there += fmt::format("\n  {} {} {}", who, answer.waits ? "waits" : "is", answer.text);
    }
  }
  return fmt::format("no progress: {}{}", silent.empty() ? "every rank waits" : "no word from " + silent, there);
}

std::string Watchdog::silent_hosts(const std::vector<Answer>& answers, const std::vector<std::string>& hosts) {
  std::set<std::string> silent;
  for (std::size_t rank = 0; rank < answers.size(); ++rank) {
    if (answers[rank].text.empty()) {
      silent.insert(hosts[rank]);
    }
  }
  return fmt::format("{}", fmt::join(silent, ","));
}

void Watchdog::end_job(const std::vector<Answer>& answers) {
  alarm(static_cast<unsigned>(2 * patience_) + last_resort_seconds);
  if (call_.claim_word()) {
    const std::string text = describe(answers, hosts_);
    std::fputs(fmt::format("hrm: error: {}\nrun again with --resume auto\n", text).c_str(), stderr);
    std::fflush(stderr);
    verdict_mutex_.lock();
    if (verdict_) {
      verdict_(text, silent_hosts(answers, hosts_));
    }
  } else {
    sleep_for(2 * patience_);  // the speaker writes the verdict meanwhile, and its end ends the others
  }
  _exit(static_cast<int>(ExitCode::lost_peer));
}

}  // namespace hrm::train
