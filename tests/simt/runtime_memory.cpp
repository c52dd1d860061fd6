#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "simt/control.hpp"
#include "simt/guard.hpp"
#include "simt/runtime.hpp"

namespace hrm::simt {
namespace {

constexpr std::align_val_t alignment{256};

/// Device memory by address, then size.
std::map<std::uintptr_t, std::size_t> blocks;
std::mutex blocks_lock;

/// Whether the bytes lie in device memory as a whole.
bool on_device(const void* memory, std::size_t bytes) {
  const std::lock_guard lock(blocks_lock);
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const auto above = blocks.upper_bound(address);
  if (above == blocks.begin()) {
    return false;
  }
  const auto [start, size] = *std::prev(above);
  return address < start + size && address + bytes <= start + size;
}

/// cudaErrorInvalidValue unless each side is where `kind` says.
cudaError_t check(const void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  if (bytes == 0 || kind == cudaMemcpyDefault) {
    return cudaSuccess;
  }
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return on_device(to, bytes) == to_device && on_device(from, bytes) == from_device ? cudaSuccess
                                                                                    : cudaErrorInvalidValue;
}

void count(const void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) {
    return;
  }
  const bool to_device = on_device(to, bytes);
  const bool from_device = on_device(from, bytes);
  Counts& all = counts();
  if (to_device && from_device) {
    all.bytes_on_device += static_cast<std::int64_t>(bytes);
  } else if (to_device) {
    all.bytes_to_device += static_cast<std::int64_t>(bytes);
  } else if (from_device) {
    all.bytes_to_host += static_cast<std::int64_t>(bytes);
  }
}

}  // namespace

bool in_device_memory(const void* memory) {
  return on_device(memory, 1);
}

}  // namespace hrm::simt

using hrm::simt::counts;
using hrm::simt::remember;

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const auto size = static_cast<std::int64_t>(bytes);
  if (bytes == 0) {
    *memory = nullptr;
    return cudaSuccess;
  }
  if (counts().live_device_bytes + size > static_cast<std::int64_t>(hrm::simt::settings().device_memory)) {
    return remember(cudaErrorMemoryAllocation);
  }
  const hrm::simt::DeviceWork open;
  *memory =
      hrm::simt::settings().guarded ? hrm::simt::allocate_guarded(bytes) : ::operator new(bytes, hrm::simt::alignment);
  std::memset(*memory, 0xff, bytes);
  const std::lock_guard lock(hrm::simt::blocks_lock);
  hrm::simt::blocks[reinterpret_cast<std::uintptr_t>(*memory)] = bytes;
  ++counts().device_allocations;
  counts().live_device_bytes += size;
  counts().largest_device_bytes = std::max(counts().largest_device_bytes, counts().live_device_bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  ++counts().blocking_calls;
  if (memory == nullptr) {
    return cudaSuccess;
  }
  const std::lock_guard lock(hrm::simt::blocks_lock);
  const auto found = hrm::simt::blocks.find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == hrm::simt::blocks.end()) {
    return remember(cudaErrorInvalidValue);
  }
  if (!hrm::simt::release_guarded(memory, found->second)) {
    ::operator delete(memory, hrm::simt::alignment);
  }
  counts().live_device_bytes -= static_cast<std::int64_t>(found->second);
  hrm::simt::blocks.erase(found);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes, unsigned) {
  *memory = bytes == 0 ? nullptr : ::operator new(bytes, hrm::simt::alignment);
  ++counts().host_allocations;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  return cudaMallocHost(memory, bytes, flags);
}
cudaError_t cudaFreeHost(void* memory) {
  ::operator delete(memory, hrm::simt::alignment);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width > to_pitch || width > from_pitch) {
    return remember(cudaErrorInvalidValue);
  }
  if (width == 0 || height == 0) {
    return cudaSuccess;
  }
  const std::size_t to_bytes = (height - 1) * to_pitch + width;
  const std::size_t from_bytes = (height - 1) * from_pitch + width;
  const cudaError_t to_error = hrm::simt::check(to, from, std::min(to_bytes, from_bytes), kind);
  if (to_error != cudaSuccess) {
    return remember(to_error);
  }
  hrm::simt::stream_of(stream).enter([=] {
    hrm::simt::count(to, from, width * height);
    for (std::size_t row = 0; row < height; ++row) {
      std::memcpy(static_cast<char*>(to) + row * to_pitch, static_cast<const char*>(from) + row * from_pitch, width);
    }
    return true;
  });
  return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return error != cudaSuccess ? error : cudaStreamSynchronize(nullptr);
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) {
    return cudaSuccess;
  }
  if (!hrm::simt::on_device(memory, bytes)) {
    return remember(cudaErrorInvalidValue);
  }
  hrm::simt::stream_of(stream).enter([=] {
    std::memset(memory, value, bytes);
    return true;
  });
  return cudaSuccess;
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}
