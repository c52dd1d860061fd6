#include "comm/mpi_check.hpp"

#include <array>

#include "base/error.hpp"

namespace hrm::comm {

std::string mpi_error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) {
    return fmt::format("error {}", code);
  }
  return {text.data(), static_cast<std::size_t>(length)};
}

void mpi_check(int code, const char* call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  int kind = MPI_ERR_OTHER;
  MPI_Error_class(code, &kind);
  // What only wrong arguments can cause is no lost rank: a batch script must not try again.
  if (kind == MPI_ERR_TRUNCATE || kind == MPI_ERR_ARG || kind == MPI_ERR_COUNT || kind == MPI_ERR_BUFFER) {
    throw InternalError(fmt::format("{} failed: {}", call, mpi_error_text(code)));
  }
  fail(ExitCode::lost_peer, "{} failed: {}; a rank or the network was lost: start the job again with --resume auto",
       call, mpi_error_text(code));
}

}  // namespace hrm::comm
