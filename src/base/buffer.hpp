#pragma once
// Owned, aligned, zero-initialised arrays, counted by purpose so that a run can state its memory by part.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "base/device.hpp"

namespace hrm {

/// What a buffer is for; `memory_bytes(part)` adds up the live ones of this process.
enum class MemoryPart { weights, gradients, tree, optimizer, activations, workspace, data, count };

const char* name(MemoryPart part);
std::size_t memory_bytes(MemoryPart part);
std::size_t memory_bytes_total();

/// 64-byte aligned, zeroed storage of `memory`, charged to `part`; the host takes memory only where it is touched.
/// Throws InputError(bad_config) naming the size when there is not enough.
void* allocate_bytes(std::size_t bytes, MemoryPart part, Memory& memory);
void free_bytes(void* data, std::size_t bytes, MemoryPart part, Memory& memory) noexcept;

/// Move-only array of trivially copyable T. Allocated once, before the first step. Elements of a device's memory are
/// for its kernels: operator[] is for the host's.
template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::int64_t count, MemoryPart part = MemoryPart::workspace, Memory& memory = host_memory())
      : data_(static_cast<T*>(allocate_bytes(static_cast<std::size_t>(count) * sizeof(T), part, memory))),
        size_(count),
        part_(part),
        memory_(&memory) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { free_bytes(data_, bytes(), part_, *memory_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::int64_t size() const { return size_; }
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }
  T& operator[](std::int64_t i) { return data_[i]; }
  const T& operator[](std::int64_t i) const { return data_[i]; }
  std::span<T> span() { return {data_, static_cast<std::size_t>(size_)}; }
  std::span<const T> span() const { return {data_, static_cast<std::size_t>(size_)}; }
  std::span<T> span(std::int64_t first, std::int64_t count) {
    return span().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  }
  std::span<const T> span(std::int64_t first, std::int64_t count) const {
    return span().subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
  }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(part_, other.part_);
    std::swap(memory_, other.memory_);
  }
  T* data_ = nullptr;
  std::int64_t size_ = 0;
  MemoryPart part_ = MemoryPart::workspace;
  Memory* memory_ = &host_memory();
};

}  // namespace hrm
