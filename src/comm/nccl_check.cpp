#include "comm/nccl_check.hpp"

#include <nccl.h>

#include "base/error.hpp"

namespace hrm::comm {
namespace {

constexpr const char* repair = "a rank, its GPU or the network was lost: start the job again with --resume auto";

}  // namespace

void nccl_check(int code, const std::string& tried) {
  if (code != ncclSuccess && code != ncclInProgress) {
    // NCCL keeps its last words per process, not per communicator, and they may belong to an older failure.
    const char* last = ncclGetLastError(nullptr);
    fail(ExitCode::lost_peer, "{} failed: {} (NCCL's last words: \"{}\"); {}", tried,
         ncclGetErrorString(static_cast<ncclResult_t>(code)), last == nullptr ? "" : last, repair);
  }
}

void cuda_check(int code, const char* call) {
  if (code != cudaSuccess) {
    fail(ExitCode::lost_peer, "{} failed: {}; {}", call, cudaGetErrorString(static_cast<cudaError_t>(code)), repair);
  }
}

void nccl_expired(const std::string& tried, double seconds) {
  fail(ExitCode::lost_peer, "{} is not done after {} s; {}", tried, seconds, repair);
}

}  // namespace hrm::comm
