#include "comm/shared_array.hpp"

#include <mpi.h>

#include <cstring>
#include <exception>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "comm/mpi_check.hpp"

namespace hrm::comm {

struct SharedMemory::State {
  State(Communicator& node, std::int64_t bytes);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  Communicator& group;
  int exceptions_at_start = std::uncaught_exceptions();
  MPI_Win window = MPI_WIN_NULL;
  Buffer<std::byte> own;
  void* data = nullptr;
};

SharedMemory::State::State(Communicator& node, std::int64_t bytes) : group(node) {
  if (node.size() == 1) {
    own = Buffer<std::byte>(bytes, MemoryPart::data);
    data = own.data();
    return;
  }
  const MPI_Aint mine = node.rank() == 0 ? bytes : 0;
  const int code =
      MPI_Win_allocate_shared(mine, 1, MPI_INFO_NULL, *static_cast<MPI_Comm*>(node.native()), &data, &window);
  if (code != MPI_SUCCESS) {
    fail(ExitCode::bad_config, "no {} bytes of memory shared among the ranks of a node ({}); enlarge /dev/shm", bytes,
         mpi_error_text(code));
  }
  MPI_Aint size = 0;
  int unit = 0;
  mpi_check(MPI_Win_shared_query(window, 0, &size, &unit, &data), "MPI_Win_shared_query");
  mpi_check(MPI_Win_lock_all(MPI_MODE_NOCHECK, window), "MPI_Win_lock_all");
  if (node.rank() == 0 && bytes > 0) {
    std::memset(data, 0, static_cast<std::size_t>(bytes));
  }
}

SharedMemory::State::~State() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  // MPI_Win_free is collective: the other ranks may never come while this one unwinds.
  if (window != MPI_WIN_NULL && finalized == 0 && std::uncaught_exceptions() <= exceptions_at_start) {
    MPI_Win_unlock_all(window);
    MPI_Win_free(&window);
  }
}

SharedMemory::SharedMemory(Communicator& node, std::int64_t bytes) : state_(std::make_unique<State>(node, bytes)) {
  publish();
}
SharedMemory::~SharedMemory() = default;
SharedMemory::SharedMemory(SharedMemory&&) noexcept = default;
SharedMemory& SharedMemory::operator=(SharedMemory&&) noexcept = default;

void* SharedMemory::data() const {
  return state_->data;
}

void SharedMemory::publish() {
  if (state_->window == MPI_WIN_NULL) {
    return;
  }
  mpi_check(MPI_Win_sync(state_->window), "MPI_Win_sync");
  state_->group.barrier();
  mpi_check(MPI_Win_sync(state_->window), "MPI_Win_sync");
}

}  // namespace hrm::comm
