#include "train/stop_request.hpp"

#include <csignal>
#include <initializer_list>

namespace hrm::train {
namespace {

volatile std::sig_atomic_t received = 0;

void remember(int signal) {
  if (received == 0) {
    received = signal;
  }
}

}  // namespace

void watch_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = remember;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2}) {
    sigaction(signal, &action, nullptr);
  }
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
