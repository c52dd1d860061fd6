#include "app/threads.hpp"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/text.hpp"

namespace hrm::app {

std::string own_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) {
    CPU_SET(0, &set);
  }
  std::string mask(CPU_SETSIZE, '0');
  for (std::size_t core = 0; core < mask.size(); ++core) {
    mask[core] = CPU_ISSET(core, &set) ? '1' : '0';
  }
  return mask;
}

int allocated_cores() {
  const int given = std::atoi(environment("SLURM_CPUS_ON_NODE").c_str());
  return given > 0 ? given : static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

int share_of_cores(std::span<const std::string> masks, int rank) {
  const std::string& own = masks[static_cast<std::size_t>(rank)];
  const auto sharing = std::count(masks.begin(), masks.end(), own);
  return static_cast<int>(std::max<std::ptrdiff_t>(1, std::count(own.begin(), own.end(), '1') / sharing));
}

int cores_of_all(std::span<const std::string> masks) {
  int cores = 0;
  for (std::size_t core = 0; core < masks[0].size(); ++core) {
    cores += std::any_of(masks.begin(), masks.end(), [core](const std::string& mask) { return mask[core] == '1'; });
  }
  return cores;
}

int set_threads(comm::Communicator& world, std::int64_t wanted) {
  const std::unique_ptr<comm::Communicator> node = world.node_group();
  comm::Communicator& local = node ? *node : world;
  const std::vector<std::string> masks = local.gather(own_cores());
  const bool given = wanted > 0 || std::getenv("OMP_NUM_THREADS") != nullptr;
  const int chosen = wanted > 0 ? static_cast<int>(wanted) : omp_get_max_threads();
  const int threads = given ? chosen : share_of_cores(masks, local.rank());
  omp_set_num_threads(threads);
  return threads;
}

}  // namespace hrm::app
