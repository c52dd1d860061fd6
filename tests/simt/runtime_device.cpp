#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "simt/control.hpp"
#include "simt/runtime.hpp"
#include "simt/shared_memory.hpp"

namespace hrm::simt {
namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Word {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr Word words[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidMemcpyDirection, "cudaErrorInvalidMemcpyDirection", "invalid copy direction for memcpy"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
};

Word word(cudaError_t error) {
  const auto* found = std::find_if(std::begin(words), std::end(words), [&](const Word& w) { return w.error == error; });
  return found == std::end(words) ? Word{error, "cudaErrorUnknown", "unknown error"} : *found;
}

}  // namespace

cudaError_t remember(cudaError_t error) {
  last_error = error;
  return error;
}

}  // namespace hrm::simt

using hrm::simt::remember;

const char* cudaGetErrorName(cudaError_t error) {
  return hrm::simt::word(error).name;
}
const char* cudaGetErrorString(cudaError_t error) {
  return hrm::simt::word(error).text;
}
cudaError_t cudaGetLastError() {
  return std::exchange(hrm::simt::last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return hrm::simt::last_error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : remember(cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (device != 0) {
    return remember(cudaErrorInvalidDevice);
  }
  *properties = {};
  std::strncpy(properties->name, "GPU that the CPU stands in for", sizeof properties->name - 1);
  properties->totalGlobalMem = hrm::simt::settings().device_memory;
  properties->major = 9;
  properties->minor = 0;
  properties->multiProcessorCount = 4;
  properties->sharedMemPerBlockOptin = hrm::simt::max_shared;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) {
    return error;
  }
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
  }
  return remember(cudaErrorInvalidValue);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = hrm::simt::settings().device_memory;
  *free_bytes = *total_bytes - static_cast<std::size_t>(hrm::simt::counts().live_device_bytes);
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  return cudaRuntimeGetVersion(version);
}
