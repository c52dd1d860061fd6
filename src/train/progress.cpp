#include "train/progress.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>

#include "base/log.hpp"

namespace hrm::train {
namespace {

std::string duration(double seconds) {
  const auto total = static_cast<std::int64_t>(seconds);
  return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
}

std::string rate(double per_second) {
  return per_second < 10000 ? fmt::format("{:.0f}", per_second) : fmt::format("{:.1f}k", per_second / 1000);
}

}  // namespace

std::string to_text(const ProgressLine& line) {
  return fmt::format("step {}/{}  loss {:.4f}  accuracy {:.3f}  {} tokens/s  ETA {}", line.step, line.planned_steps,
                     line.loss, line.accuracy, rate(line.tokens_per_second), duration(line.seconds_left));
}

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::show(const ProgressLine& line) {
  if (!terminal_) {
    log::info("{}", to_text(line));
    return;
  }
  if (log::rank() == 0) {
    std::fputs(("\r\033[Khrm: " + to_text(line)).c_str(), stderr);
    std::fflush(stderr);
    open_ = true;
  }
}

void Progress::finish() {
  if (open_) {
    std::fputc('\n', stderr);
    open_ = false;
  }
}

}  // namespace hrm::train
