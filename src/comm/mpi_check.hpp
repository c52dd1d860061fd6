#pragma once
// One line per MPI call: a failing call becomes an InputError(lost_peer) with MPI's own words.
#include <mpi.h>

#include <string>

namespace hrm::comm {

/// MPI_Error_string of `code`.
std::string mpi_error_text(int code);

/// Throws InputError(lost_peer) naming `call` unless `code` is MPI_SUCCESS.
void mpi_check(int code, const char* call);

}  // namespace hrm::comm
