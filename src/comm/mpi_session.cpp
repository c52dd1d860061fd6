#include "comm/mpi_session.hpp"

#include <mpi.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <thread>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "comm/mpi_check.hpp"
#include "comm/mpi_communicator.hpp"

namespace hrm::comm {

MpiSession::MpiSession() : exceptions_at_start_(std::uncaught_exceptions()) {
  int provided = MPI_THREAD_SINGLE;
  mpi_check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_FUNNELED) {
    fail(ExitCode::bad_config, "{} was built without thread support (MPI_THREAD_FUNNELED); use another build of it",
         mpi_library());
  }
  mpi_check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  MPI_Comm all = MPI_COMM_WORLD;
  world_ = mpi_communicator(&all);
  failures_ = mpi_communicator(&all);
}

MpiSession::~MpiSession() {
  failures_.reset();
  world_.reset();
  if (std::uncaught_exceptions() <= exceptions_at_start_) {
    MPI_Finalize();
  }
}

bool MpiSession::all_failed(double seconds) noexcept {
  MPI_Request request = MPI_REQUEST_NULL;
  if (MPI_Ibarrier(*static_cast<MPI_Comm*>(failures_->native()), &request) != MPI_SUCCESS) {
    return false;
  }
  int arrived = 0;
  const Timer timer;
  while (arrived == 0 && timer.seconds() < seconds) {
    if (MPI_Test(&request, &arrived, MPI_STATUS_IGNORE) != MPI_SUCCESS) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return arrived != 0;
}

void MpiSession::abort(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);
}

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  mpi_check(MPI_Get_library_version(text.data(), &length), "MPI_Get_library_version");
  const std::string words(text.data(), static_cast<std::size_t>(length));
  std::string name = words.substr(0, words.find_first_of(",\n"));
  // Open MPI calls itself "Open MPI v4.1.4".
  const std::size_t version = name.find(" v");
  if (version != std::string::npos) {
    name.erase(version + 1, 1);
  }
  return name;
}

std::string mpi_headers() {
#if defined(OMPI_MAJOR_VERSION)
  return fmt::format("Open MPI {}.{}.{}", OMPI_MAJOR_VERSION, OMPI_MINOR_VERSION, OMPI_RELEASE_VERSION);
#elif defined(MPICH_VERSION)
  return "MPICH " MPICH_VERSION;
#else
  return fmt::format("MPI {}.{}", MPI_VERSION, MPI_SUBVERSION);
#endif
}

}  // namespace hrm::comm
