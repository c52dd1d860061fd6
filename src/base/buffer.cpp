#include "base/buffer.hpp"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.hpp"
#include "base/memory_use.hpp"

namespace hrm {
namespace {

std::array<std::atomic<std::size_t>, static_cast<std::size_t>(MemoryPart::count)> live_bytes{};

std::atomic<std::size_t>& counter(MemoryPart part) {
  return live_bytes[static_cast<std::size_t>(part)];
}

/// Live bytes by memory.
class Uses {
 public:
  void add(const Memory& memory, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    bytes_[&memory] += bytes;
  }
  void remove(const Memory& memory, std::size_t bytes) noexcept {
    const std::lock_guard lock(mutex_);
    const auto found = bytes_.find(&memory);
    found->second -= bytes;
    if (found->second == 0) {
      bytes_.erase(found);
    }
  }
  std::size_t of(const Memory& memory) {
    const std::lock_guard lock(mutex_);
    const auto found = bytes_.find(&memory);
    return found == bytes_.end() ? 0 : found->second;
  }

 private:
  std::mutex mutex_;
  std::map<const Memory*, std::size_t> bytes_;
};

Uses& uses() {
  static auto& all = *new Uses;  // never destroyed: buffers of other statics are released late
  return all;
}

constexpr std::size_t page_threshold = std::size_t{1} << 20;

std::size_t padded(std::size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

/// Large buffers come as untouched pages: the kernel zeroes each when the thread that uses it first touches it (near
/// that thread's memory), and a plan of a run can be built without owning its memory.
void* map_pages(std::size_t bytes) {
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    return nullptr;
  }
  ::madvise(data, bytes, MADV_HUGEPAGE);  // advice only: refused on some kernels
  return data;
}

void* map_small(std::size_t bytes) {
  void* data = std::aligned_alloc(64, padded(bytes));
  if (data != nullptr) {
    std::memset(data, 0, padded(bytes));
  }
  return data;
}

class HostMemory final : public Memory {
 public:
  void* allocate(std::size_t bytes) override { return bytes >= page_threshold ? map_pages(bytes) : map_small(bytes); }
  void release(void* data, std::size_t bytes) noexcept override {
    if (bytes >= page_threshold) {
      ::munmap(data, bytes);
    } else {
      std::free(data);
    }
  }
};

}  // namespace

Memory& host_memory() {
  static auto& memory = *new HostMemory;  // never destroyed: buffers of other statics return to it
  return memory;
}

const char* name(MemoryPart part) {
  constexpr std::array<const char*, static_cast<std::size_t>(MemoryPart::count)> names = {
      "weights", "gradients", "tree", "optimizer", "activations", "workspace", "data"};
  return names.at(static_cast<std::size_t>(part));
}

std::size_t memory_bytes(MemoryPart part) {
  return counter(part).load();
}

std::size_t memory_bytes_total() {
  std::size_t sum = 0;
  for (const auto& bytes : live_bytes) {
    sum += bytes.load();
  }
  return sum;
}

std::size_t bytes_in(const Memory& memory) {
  return uses().of(memory);
}

void* allocate_bytes(std::size_t bytes, MemoryPart part, Memory& memory) {
  if (bytes == 0) {
    return nullptr;
  }
  void* data = memory.allocate(bytes);
  if (data == nullptr) {
    fail(ExitCode::bad_config,
         "cannot allocate {} bytes for {}; use more ranks, fewer pack_tokens or train.recompute = true", bytes,
         name(part));
  }
  counter(part) += bytes;
  uses().add(memory, bytes);
  return data;
}

void free_bytes(void* data, std::size_t bytes, MemoryPart part, Memory& memory) noexcept {
  if (data != nullptr) {
    counter(part) -= bytes;
    uses().remove(memory, bytes);
    memory.release(data, bytes);
  }
}

}  // namespace hrm
