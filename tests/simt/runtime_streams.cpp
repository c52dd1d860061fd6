#include <memory>
#include <mutex>
#include <set>
#include <utility>

#include "simt/control.hpp"
#include "simt/launch.hpp"
#include "simt/runtime.hpp"

void CUstream_st::enter(std::function<bool()> work) {
  queue.push_back(std::move(work));
  ++entered;
  if (!hrm::simt::settings().deferred) {
    advance();
  }
}

void CUstream_st::advance() {
  // What waits for another stream may be asked about by that one: later work must not overtake it then.
  if (busy) {
    return;
  }
  const auto leave = [this](void*) { busy = false; };
  const std::unique_ptr<void, decltype(leave)> guard(this, leave);
  busy = true;
  while (!queue.empty()) {
    try {
      const hrm::simt::DeviceWork open;
      if (!queue.front()()) {
        return;
      }
    } catch (...) {
      pop();
      throw;
    }
    pop();
  }
}

void CUstream_st::pop() {
  queue.pop_front();
  ++done;
}

namespace hrm::simt {

CUstream_st& stream_of(cudaStream_t stream) {
  static CUstream_st default_stream;
  return stream == nullptr ? default_stream : *stream;
}

void put_on_stream(cudaStream_t stream, std::function<void()> work) {
  stream_of(stream).enter([work = std::move(work)] {
    ++counts().launches;
    work();
    return true;
  });
}

namespace {

std::set<CUstream_st*> made;
std::mutex made_lock;

void finish(CUstream_st& stream) {
  while (!stream.queue.empty()) {
    stream.advance();
  }
}

}  // namespace

void finish_all() {
  finish(stream_of(nullptr));
  const std::lock_guard lock(made_lock);
  for (CUstream_st* stream : made) {
    finish(*stream);
  }
}

}  // namespace hrm::simt

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new CUstream_st;
  const std::lock_guard lock(hrm::simt::made_lock);
  hrm::simt::made.insert(*stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  return cudaStreamCreate(stream);
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  return cudaStreamCreate(stream);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (stream == nullptr) {
    return hrm::simt::remember(cudaErrorInvalidResourceHandle);
  }
  hrm::simt::finish(*stream);
  const std::lock_guard lock(hrm::simt::made_lock);
  hrm::simt::made.erase(stream);
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  ++hrm::simt::counts().blocking_calls;
  hrm::simt::finish(hrm::simt::stream_of(stream));
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  ++hrm::simt::counts().blocking_calls;
  hrm::simt::finish_all();
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  CUstream_st& asked = hrm::simt::stream_of(stream);
  asked.advance();
  return asked.queue.empty() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  hrm::simt::stream_of(stream).enter([recorded = *event] { return recorded.reached(); });
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  hrm::simt::stream_of(stream).enter([=] {
    function(data);
    return true;
  });
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  return cudaEventCreate(event);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (event == nullptr) {
    return hrm::simt::remember(cudaErrorInvalidResourceHandle);
  }
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  CUstream_st& recorded = hrm::simt::stream_of(stream);
  *event = {&recorded, recorded.entered, std::chrono::steady_clock::now()};
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  ++hrm::simt::counts().blocking_calls;
  while (!event->reached()) {
  }
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return event->reached() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return cudaSuccess;
}
