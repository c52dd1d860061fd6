#include "comm/nccl_handles.hpp"

#include <nccl.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <future>
#include <thread>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "comm/nccl_check.hpp"

namespace hrm::comm {
namespace {

constexpr std::chrono::microseconds pause{100};
constexpr double abort_seconds = 10;

}  // namespace

void DestroyStream::operator()(CUstream_st* stream) const noexcept {
  cudaStreamDestroy(stream);
}
void DestroyEvent::operator()(CUevent_st* event) const noexcept {
  cudaEventDestroy(event);
}

CudaStream make_stream() {
  int least = 0;
  int greatest = 0;
  cuda_check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  cudaStream_t stream = nullptr;
  cuda_check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
  return CudaStream(stream);
}

CudaEvent make_event() {
  cudaEvent_t event = nullptr;
  cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  return CudaEvent(event);
}

std::string NcclGroup::unique_id() {
  ncclUniqueId id;
  nccl_check(ncclGetUniqueId(&id), "ncclGetUniqueId");
  return {id.internal, sizeof id.internal};
}

NcclGroup::NcclGroup(double deadline) : deadline_(deadline), exceptions_at_start_(std::uncaught_exceptions()) {}

// Once the other constructor is through, the destructor runs even if this one throws.
NcclGroup::NcclGroup(int rank, int ranks, const std::string& id, double deadline) : NcclGroup(deadline) {
  ncclUniqueId bytes;
  ensure(id.size() == sizeof bytes.internal, "a unique id of NCCL has another length");
  std::memcpy(bytes.internal, id.data(), id.size());
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  const std::string tried = fmt::format("ncclCommInitRankConfig (rank {} of {})", rank, ranks);
  nccl_check(ncclCommInitRankConfig(&handle_, ranks, bytes, rank, &config), tried);
  const Timer timer;
  int now = state();
  for (; now == ncclInProgress; now = state()) {
    if (timer.seconds() > deadline_) {
      nccl_expired(tried, deadline_);
    }
    std::this_thread::sleep_for(pause);
  }
  nccl_check(now, tried);
}

NcclGroup::~NcclGroup() {
  if (handle_ == nullptr) {
    return;
  }
  if (std::uncaught_exceptions() > exceptions_at_start_ || !finalized()) {
    abort();
    return;
  }
  ncclCommDestroy(handle_);
}

int NcclGroup::state() const {
  ncclResult_t now = ncclSuccess;
  nccl_check(ncclCommGetAsyncError(handle_, &now), "ncclCommGetAsyncError");
  return now;
}

bool NcclGroup::finalized() const noexcept {
  ncclResult_t state = ncclCommFinalize(handle_);
  const Timer timer;
  while (state == ncclInProgress && timer.seconds() < deadline_) {
    std::this_thread::sleep_for(pause);
    if (ncclCommGetAsyncError(handle_, &state) != ncclSuccess) {
      return false;
    }
  }
  return state == ncclSuccess;
}

/// ncclCommAbort can hang when the other communicators' kernels run (nccl issue 564), so a thread of its own calls it
/// and is left behind when it does not come back.
void NcclGroup::abort() const noexcept {
  try {
    auto done = std::make_shared<std::promise<void>>();
    std::future<void> end = done->get_future();
    std::thread([handle = handle_, done] {
      ncclCommAbort(handle);
      done->set_value();
    }).detach();
    end.wait_for(std::chrono::duration<double>(std::min(deadline_, abort_seconds)));
  } catch (const std::exception&) {
    // No thread, no memory: the communicator ends with the process.
  }
}

}  // namespace hrm::comm
