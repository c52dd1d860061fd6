#pragma once
// Communicator over MPI. Only this room includes mpi.h; handles cross the border as void*.
#include <cstdint>
#include <memory>

#include "comm/communicator.hpp"

namespace hrm::comm {

/// Bytes of one message (elements of one sum): MPI 3 counts are int, so longer data go in several messages.
inline constexpr std::int64_t default_message_limit = std::int64_t{1} << 30;

/// A duplicate of `*native` (MPI_Comm*); collective over it. MPI reports errors as InputError(lost_peer). The handle is
/// freed with the object, but not while an exception unwinds or after MPI_Finalize.
std::unique_ptr<Communicator> mpi_communicator(void* native, std::int64_t message_limit = default_message_limit);

}  // namespace hrm::comm
