#include "app/threads.hpp"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/log.hpp"

namespace hrm::app {
namespace {

int bound_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

int online_cores() {
  return static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

int default_threads(int local_ranks) {
  if (std::getenv("OMP_NUM_THREADS") != nullptr) {
    return omp_get_max_threads();
  }
  const int bound = bound_cores();
  return bound < online_cores() ? bound : std::max(1, bound / local_ranks);
}

}  // namespace

int set_threads(comm::Communicator& world, std::int64_t wanted) {
  const std::unique_ptr<comm::Communicator> node = world.node_group();
  comm::Communicator& local = node ? *node : world;
  const int threads = wanted > 0 ? static_cast<int>(wanted) : default_threads(local.size());
  omp_set_num_threads(threads);
  double total = threads;
  local.sum(std::span<double>(&total, 1));
  if (total > online_cores()) {
    log::warn("{} threads of {} rank(s) share {} cores of this node; set device.threads or use fewer ranks", total,
              local.size(), online_cores());
  }
  return threads;
}

}  // namespace hrm::app
