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
  /// For a rank whose work failed: true if every rank says so within `seconds`, so that all can end on their own; false
  /// if the others go on or hang, or if MPI itself fails (a lost rank): it runs while an error is reported. Independent
  /// of whatever the world communicator is in the middle of.
  bool all_failed(double seconds) noexcept;
  /// Ends all ranks with `code` (MPI_Abort); used by main when not all ranks fail together.
  [[noreturn]] void abort(int code);

 private:
  int exceptions_at_start_;
  std::unique_ptr<Communicator> failures_;  ///< a group of its own for all_failed
  std::unique_ptr<Communicator> world_;
};

/// "Open MPI 4.1.4": the library that runs, and the one whose headers this program was built with.
std::string mpi_library();
std::string mpi_headers();

}  // namespace hrm::comm
