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
  if (code != MPI_SUCCESS) {
    fail(ExitCode::lost_peer, "{} failed: {}; a rank or the network was lost: start the job again with --resume auto",
         call, mpi_error_text(code));
  }
}

}  // namespace hrm::comm
