#include "train/stop_request.hpp"

#include <unistd.h>

#include <csignal>
#include <initializer_list>

namespace hrm::train {
namespace {

volatile std::sig_atomic_t received = 0;
volatile std::sig_atomic_t on_terminal = 0;

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

bool stop_requested() {
  return received != 0;
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

}  // namespace hrm::train
