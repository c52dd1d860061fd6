#pragma once
// Streams and events of the fake runtime (toolkit/cuda_runtime.h).
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>

#include "simt/toolkit/cuda_runtime.h"

/// Work in order. Each piece is asked until it says that it is done, then the next one.
struct CUstream_st {
  std::deque<std::function<bool()>> queue;
  std::int64_t entered = 0;
  std::int64_t done = 0;
  bool busy = false;  ///< a piece is being asked

  void enter(std::function<bool()> work);
  void advance();
  void pop();
};

/// A place in a stream's order.
struct CUevent_st {
  CUstream_st* stream = nullptr;  ///< null: never recorded
  std::int64_t position = 0;
  std::chrono::steady_clock::time_point time{};

  bool reached() const {
    if (stream != nullptr) {
      stream->advance();
    }
    return stream == nullptr || stream->done >= position;
  }
};

namespace hrm::simt {

/// Null is the default stream.
CUstream_st& stream_of(cudaStream_t stream);

/// Runs what every stream holds.
void finish_all();
/// Whether cudaMalloc gave this byte.
bool in_device_memory(const void* memory);

/// Remembers and returns the error, as cudaGetLastError wants it.
cudaError_t remember(cudaError_t error);

}  // namespace hrm::simt
