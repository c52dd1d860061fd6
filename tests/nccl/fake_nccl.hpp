#pragma once
// The part of CUDA's and NCCL's interface that src/comm uses, over MPI, with host memory in place of a device's.
// Streams are queues whose work goes on only inside the functions that ask about it, so that nothing is ever done too
// early by chance. Linked in place of libcudart and libnccl; wrong use is counted where the real ones would misbehave.
#include <nccl.h>

#include <atomic>

namespace fake {

/// What goes wrong, or slowly.
struct Switches {
  int background_polls = 0;  ///< ncclCommGetAsyncError answers ncclInProgress so often after each call
  int host_polls = 0;        ///< questions to a stream until a function of cudaLaunchHostFunc runs
  bool init_stalls = false;  ///< a communicator stays in progress for ever
  bool work_stalls = false;  ///< what NCCL puts on a stream never ends, nor begins
  bool abort_hangs = false;
  cudaError_t stream_error = cudaSuccess;       ///< of cudaStreamCreateWithPriority
  cudaError_t event_error = cudaSuccess;        ///< of cudaEventQuery
  ncclResult_t id_error = ncclSuccess;          ///< of ncclGetUniqueId
  ncclResult_t call_error = ncclSuccess;        ///< of a call inside a group
  ncclResult_t group_error = ncclSuccess;       ///< of ncclGroupEnd
  ncclResult_t background_error = ncclSuccess;  ///< found by ncclCommGetAsyncError
};
inline Switches switches;

/// Calls so far.
struct Counts {
  int streams = 0;  ///< alive
  int events = 0;   ///< alive
  int finalized = 0;
  int destroyed = 0;
  std::atomic<int> aborted = 0;  ///< by a thread of its own
  int wrong_use = 0;             ///< each with a line on standard error
};
inline Counts counts;

}  // namespace fake
