// Run under mpirun with 2 ranks by test_watchdog.py: one way to wait for each other, then the end of the process. The
// argument: slow_peer, different_limits, stopped_at_exit.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "base/timer.hpp"
#include "comm/activity.hpp"
#include "comm/mpi_session.hpp"
#include "train/watchdog.hpp"

namespace {

using namespace hrm;

constexpr double least_seconds = 0.5;
constexpr double slow_seconds = 10;  // many times what the other rank's section may take

void work(double seconds, bool shows_life) {
  for (const Timer timer; timer.seconds() < seconds;) {
    if (shows_life) {
      comm::note_progress();
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

int main(int count, char** arguments) {
  const std::string mode = count > 2 ? arguments[1] : "";
  std::unique_ptr<train::Watchdog> watchdog;  // outlives MPI
  comm::MpiSession session;
  comm::Communicator& world = session.world();
  config::WatchdogConfig config;
  config.least_seconds = least_seconds;
  config.factor = 1;
  watchdog = std::make_unique<train::Watchdog>(world, config, arguments[count - 1]);
  watchdog->set_verdict([](const std::string&, const std::string& hosts) {
    std::fprintf(stderr, "verdict: silent hosts '%s'\n", hosts.c_str());
  });
  const bool other = world.rank() == 1;
  watchdog->enter("meet", 1);
  world.barrier();
  watchdog->enter(other ? "its own section" : "meet", 2);
  if (mode == "slow_peer" && other) {
    work(slow_seconds, true);
  } else if (mode == "different_limits" && other) {
    work(1e9, false);
  }
  world.barrier();
  std::puts("met");
  watchdog->enter("exit", 0);
  if (mode == "stopped_at_exit" && other) {
    raise(SIGSTOP);
  }
  return 0;
}
