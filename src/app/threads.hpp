#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "comm/communicator.hpp"

namespace hrm::app {

/// Sets the OpenMP threads of this rank and returns them: `wanted` if above 0, else OMP_NUM_THREADS if set, else the
/// cores this rank is bound to, divided by the ranks of the node that are bound to the same ones. Collective; call
/// before anything sizes per-thread memory. What is wrong with the threads of a node, announce_ranks tells
/// (rank_map.hpp).
int set_threads(comm::Communicator& world, std::int64_t wanted);

/// Cores this process may run on: one character per core of any machine, '1' where it may; core 0 where the kernel does
/// not tell.
std::string own_cores();
/// Cores of this node that the batch system gave to the job, else all.
int allocated_cores();

/// The ranks of a node are given by their masks: one character per core, '1' where the rank may run there.
/// Cores of rank `rank` divided by the ranks with the same mask, at least 1.
int share_of_cores(std::span<const std::string> masks, int rank);
/// Cores that at least one rank may run on.
int cores_of_all(std::span<const std::string> masks);

}  // namespace hrm::app
