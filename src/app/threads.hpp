#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "comm/communicator.hpp"

namespace hrm::app {

/// Sets the OpenMP threads of this rank and returns them: `wanted` if above 0, else OMP_NUM_THREADS if set, else the
/// cores this rank is bound to, divided by the ranks of the node that are bound to the same ones. Collective; call
/// before anything sizes per-thread memory. Warns (once) when the node's ranks together use more threads than the cores
/// they are bound to, or were bound to fewer cores than the allocation has.
int set_threads(comm::Communicator& world, std::int64_t wanted);

/// The ranks of a node are given by their masks: one character per core, '1' where the rank may run there.
/// Cores of rank `rank` divided by the ranks with the same mask, at least 1.
int share_of_cores(std::span<const std::string> masks, int rank);
/// Cores that at least one rank may run on.
int cores_of_all(std::span<const std::string> masks);

}  // namespace hrm::app
