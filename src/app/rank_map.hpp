#pragma once
// Which rank runs where and with what: told at the start, with warnings about placements that cost speed, and a check
// that all ranks are the same program.
#include <optional>
#include <string>
#include <vector>

#include "base/device.hpp"
#include "comm/communicator.hpp"

namespace hrm::app {

/// What one rank says of itself.
struct RankPlace {
  std::string host;
  std::string cores;                   ///< one character per core, '1' where the rank may run; as long on every rank
  int threads = 1;                     ///< OpenMP threads
  int node_cores = 0;                  ///< cores of its node that the batch system gave to the job, else all
  int task_cores = 0;                  ///< cores that the batch system gave to each rank; 0: unknown
  std::optional<std::string> devices;  ///< names of the devices it sees, joined by commas; nothing on the host back end
  int node_devices = 0;                ///< devices of its node that the batch system gave to the job; 0: unknown
};

/// Of this process, from its binding, OpenMP and the environment.
RankPlace own_place(DeviceType device);

/// One line per node, in order of its first rank: its ranks, cores, threads and devices. Neighbouring nodes that differ
/// in nothing but their names share a line.
std::vector<std::string> map_lines(const std::vector<RankPlace>& ranks);

/// What is wrong with the placement of `ranks` in tensor groups of `tensor` neighbours: more threads than cores, ranks
/// bound to fewer cores than they were given, tensor groups that cross nodes, fewer devices than ranks. One text per
/// kind, naming the first place.
std::vector<std::string> warnings(const std::vector<RankPlace>& ranks, int tensor);

/// Logs map and warnings. Collective; call after set_threads.
void announce_ranks(comm::Communicator& world, int tensor, DeviceType device = DeviceType::cpu);

/// Version, git revision and build type of this program: what check_same_program compares.
std::string program_text();

/// Ranks of different programs would train different numbers or hang. Collective; on every rank InputError(bad_config)
/// that names the first rank whose `text` is not rank 0's, its host and both texts.
void check_same_program(comm::Communicator& world, const std::string& text);

}  // namespace hrm::app
