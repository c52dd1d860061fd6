#pragma once
// Start and end of MPI: one per process.
#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace hrm::comm {

/// MPI_Init_thread(FUNNELED) … MPI_Finalize. While an exception unwinds MPI_Finalize is left out (it would hang): main
/// reports and aborts all ranks.
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  Communicator& world() { return *world_; }
  /// Ends all ranks with `code` (MPI_Abort); used by main when not all ranks fail together.
  [[noreturn]] void abort(int code);

 private:
  int exceptions_at_start_;
  std::unique_ptr<Communicator> world_;
};

/// "Open MPI 4.1.4".
std::string mpi_library();

}  // namespace hrm::comm
