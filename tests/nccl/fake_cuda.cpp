#include "fake_cuda.hpp"

#include <cstdio>
#include <cstring>

#include "fake_nccl.hpp"

namespace fake {

CUstream_st& stream_of(cudaStream_t stream) {
  static CUstream_st default_stream;
  return stream == nullptr ? default_stream : *stream;
}

void wrong_use(const char* what) {
  ++counts.wrong_use;
  std::fprintf(stderr, "FAILED: %s\n", what);
}

namespace {

/// Work put on a stream while NCCL still issues would overtake it.
CUstream_st& usable(cudaStream_t stream) {
  CUstream_st& used = stream_of(stream);
  if (used.background > 0) {
    wrong_use("a stream was used while NCCL was putting work on it");
  }
  return used;
}

}  // namespace
}  // namespace fake

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned int flags, int priority) {
  if (fake::switches.stream_error != cudaSuccess) {
    return fake::switches.stream_error;
  }
  if (flags != cudaStreamNonBlocking || priority != -5) {
    fake::wrong_use("a stream for transfers has the highest priority and does not wait for the default stream");
  }
  *stream = new CUstream_st;
  ++fake::counts.streams;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  --fake::counts.streams;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned int flags) {
  if (flags != cudaEventDisableTiming) {
    fake::wrong_use("an event takes the time");
  }
  *event = new CUevent_st;
  ++fake::counts.events;
  return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  --fake::counts.events;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  CUstream_st& used = fake::usable(stream);
  *event = {&used, used.entered};
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int) {
  fake::usable(stream).enter([recorded = *event] {
    recorded.stream->advance();
    return recorded.stream->done >= recorded.position;
  });
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (fake::switches.event_error != cudaSuccess) {
    return fake::switches.event_error;
  }
  event->stream->advance();
  return event->stream->done >= event->position ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  if (kind != cudaMemcpyDeviceToDevice) {
    return cudaErrorInvalidMemcpyDirection;
  }
  fake::usable(stream).enter([=] {
    std::memcpy(to, from, bytes);
    return true;
  });
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  fake::usable(stream).enter([=, left = fake::switches.host_polls]() mutable {
    if (left-- > 0) {
      return false;
    }
    function(data);
    return true;
  });
  return cudaSuccess;
}

const char* cudaGetErrorString(cudaError_t) {
  return "the fake's CUDA error";
}
