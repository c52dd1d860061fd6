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

enum class Place { pageable, pinned, device };

struct Block {
  std::size_t bytes;
  Place place;
};
/// What the runtime gave, by address.
std::map<std::uintptr_t, Block> blocks;
std::mutex blocks_lock;

/// Pageable is what the runtime did not give, or not as a whole.
Place place_of(const void* memory, std::size_t bytes) {
  const std::lock_guard lock(blocks_lock);
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  const auto above = blocks.upper_bound(address);
  if (above == blocks.begin()) {
    return Place::pageable;
  }
  const auto& [start, block] = *std::prev(above);
  return address + bytes <= start + block.bytes ? block.place : Place::pageable;
}

void add_block(void* memory, std::size_t bytes, Place place) {
  const std::lock_guard lock(blocks_lock);
  blocks[reinterpret_cast<std::uintptr_t>(memory)] = {bytes, place};
}
/// Size of the block that starts at `memory`; 0 if there is none.
std::size_t take_block(void* memory, Place place) {
  const std::lock_guard lock(blocks_lock);
  const auto found = blocks.find(reinterpret_cast<std::uintptr_t>(memory));
  if (found == blocks.end() || found->second.place != place) {
    return 0;
  }
  const std::size_t bytes = found->second.bytes;
  blocks.erase(found);
  return bytes;
}

/// Rows of `width` bytes, `pitch` bytes apart.
struct Side {
  void* memory;
  std::size_t pitch;
};
struct Copy {
  Side to;
  Side from;
  std::size_t width;
  std::size_t height;

  Place place(const Side& side) const { return place_of(side.memory, (height - 1) * side.pitch + width); }
  void run() const;
};

void Copy::run() const {
  const bool to_device = place(to) == Place::device;
  const bool from_device = place(from) == Place::device;
  Counts& all = counts();
  const auto bytes = static_cast<std::int64_t>(width * height);
  all.bytes_on_device += to_device && from_device ? bytes : 0;
  all.bytes_to_device += to_device && !from_device ? bytes : 0;
  all.bytes_to_host += !to_device && from_device ? bytes : 0;
  for (std::size_t row = 0; row < height; ++row) {
    std::memcpy(static_cast<char*>(to.memory) + row * to.pitch, static_cast<char*>(from.memory) + row * from.pitch,
                width);
  }
}

/// Whether each side is where `kind` says.
bool fits(const Copy& copy, cudaMemcpyKind kind) {
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  return kind == cudaMemcpyDefault || ((copy.place(copy.to) == Place::device) == to_device &&
                                       (copy.place(copy.from) == Place::device) == from_device);
}

}  // namespace

bool in_device_memory(const void* memory) {
  return place_of(memory, 1) == Place::device;
}

}  // namespace hrm::simt

using hrm::simt::counts;
using hrm::simt::Place;
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
  hrm::simt::add_block(*memory, bytes, Place::device);
  ++counts().device_allocations;
  counts().live_device_bytes += size;
  counts().largest_device_bytes = std::max(counts().largest_device_bytes, counts().live_device_bytes);
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  ++counts().blocking_calls;
  hrm::simt::finish_all();
  if (memory == nullptr) {
    return cudaSuccess;
  }
  const std::size_t bytes = hrm::simt::take_block(memory, Place::device);
  if (bytes == 0) {
    return remember(cudaErrorInvalidValue);
  }
  if (!hrm::simt::release_guarded(memory, bytes)) {
    ::operator delete(memory, hrm::simt::alignment);
  }
  counts().live_device_bytes -= static_cast<std::int64_t>(bytes);
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes, unsigned) {
  *memory = ::operator new(std::max<std::size_t>(bytes, 1), hrm::simt::alignment);
  hrm::simt::add_block(*memory, std::max<std::size_t>(bytes, 1), Place::pinned);
  ++counts().host_allocations;
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  return cudaMallocHost(memory, bytes, flags);
}
cudaError_t cudaFreeHost(void* memory) {
  hrm::simt::finish_all();
  if (memory != nullptr && hrm::simt::take_block(memory, Place::pinned) == 0) {
    return remember(cudaErrorInvalidValue);
  }
  ::operator delete(memory, hrm::simt::alignment);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from, std::size_t from_pitch,
                              std::size_t width, std::size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width == 0 || height == 0) {
    return cudaSuccess;
  }
  const hrm::simt::Copy copy{{to, to_pitch}, {const_cast<void*>(from), from_pitch}, width, height};
  if (width > to_pitch || width > from_pitch || !fits(copy, kind)) {
    return remember(cudaErrorInvalidValue);
  }
  hrm::simt::stream_of(stream).enter([copy] {
    copy.run();
    return true;
  });
  // Only memory that is pinned, or the device's, can be copied behind the caller's back.
  if (copy.place(copy.to) == Place::pageable || copy.place(copy.from) == Place::pageable) {
    return cudaStreamSynchronize(stream);
  }
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
  if (hrm::simt::place_of(memory, bytes) != Place::device) {
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
