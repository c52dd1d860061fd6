#pragma once
#include <cstdint>

#include "comm/communicator.hpp"

namespace hrm::app {

/// Sets the OpenMP threads of this rank and returns them: `wanted` if above 0, else OMP_NUM_THREADS if set, else the
/// cores this rank is bound to, shared with the node's other ranks where it is bound to none. Collective; call before
/// anything sizes per-thread memory. Warns (once) when the node's ranks together use more threads than it has cores.
int set_threads(comm::Communicator& world, std::int64_t wanted);

}  // namespace hrm::app
