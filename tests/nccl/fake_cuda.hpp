#pragma once
// Streams of the fake (fake_nccl.hpp): the libraries leave these structs opaque.
#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>

struct CUstream_st {
  /// Each is asked until it says that it is done, then the next one.
  std::deque<std::function<bool()>> queue;
  std::int64_t entered = 0;
  std::int64_t done = 0;
  bool advancing = false;
  int background = 0;  ///< communicators that still put work on it in the background

  void enter(std::function<bool()> work) {
    queue.push_back(std::move(work));
    ++entered;
  }
  /// Two streams may wait for each other's past: whoever is at work already is not asked again.
  void advance() {
    if (std::exchange(advancing, true)) {
      return;
    }
    while (!queue.empty() && queue.front()()) {
      queue.pop_front();
      ++done;
    }
    advancing = false;
  }
};

struct CUevent_st {
  CUstream_st* stream = nullptr;
  std::int64_t position = 0;
};

namespace fake {

/// Null is the default stream.
CUstream_st& stream_of(cudaStream_t stream);
void wrong_use(const char* what);

}  // namespace fake
