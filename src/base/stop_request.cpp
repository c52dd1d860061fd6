#include "base/stop_request.hpp"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <initializer_list>
#include <limits>

#include "base/error.hpp"

namespace hrm {
namespace {

volatile std::sig_atomic_t received = 0;
volatile std::sig_atomic_t on_terminal = 0;
std::atomic<double> end_time{std::numeric_limits<double>::infinity()};

void remember(int signal) {
  if (received == 0) {
    received = signal;
  } else if (received == SIGINT && signal == SIGINT && on_terminal != 0) {
    std::signal(SIGINT, SIG_DFL);
    std::raise(SIGINT);
  }
}

}  // namespace

void watch_stop_signals() {
  on_terminal = isatty(STDERR_FILENO);
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) {
    sigaction(signal, &action, nullptr);
  }
  std::signal(SIGXFSZ, SIG_IGN);  // a file size limit (ulimit -f) is a failed write, which can be told
}

void stop_at(double time) {
  end_time.store(time, std::memory_order_relaxed);
}

bool stop_requested() {
  return received != 0 || wall_clock() >= end_time.load(std::memory_order_relaxed);
}

const char* stop_signal() {
  switch (received) {
    case 0:
      return "";
    case SIGTERM:
      return "SIGTERM";
    case SIGINT:
      return "SIGINT";
    case SIGUSR1:
      return "SIGUSR1";
    default:
      return "SIGUSR2";
  }
}

void fail_stopped() {
  fail(ExitCode::stopped, "stopped on request ({}); run again",
       received != 0 ? stop_signal() : "the time limit, or a signal to another rank");
}

void look_for_stop() {
  if (stop_requested()) {
    fail_stopped();
  }
}

double wall_clock() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace hrm
