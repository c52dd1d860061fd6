// The tests of kernels/ on a real GPU: every object they allocate lies in page-locked memory, which kernels reach under
// its own address, so the tests are those of the host and of the SIMT shim, unchanged.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>

#include "kernels/gpu.hpp"
#include "tests/kernels/kernel_test.hpp"

namespace {

/// Pieces of one block of page-locked memory, of powers of two; what was freed is given again first.
class PinnedHeap {
 public:
  static constexpr std::size_t bytes = std::size_t{2} << 30;

  bool open() {
    void* data = nullptr;
    if (cudaHostAlloc(&data, bytes, cudaHostAllocDefault) != cudaSuccess) {
      return false;
    }
    begin_ = next_ = static_cast<unsigned char*>(data);
    return true;
  }
  bool holds(const void* data) const {
    const auto* byte = static_cast<const unsigned char*>(data);
    return begin_ != nullptr && byte >= begin_ && byte < begin_ + bytes;
  }
  /// nullptr where the heap is not open or full.
  void* take(std::size_t size) {
    const std::lock_guard guard(mutex_);
    const std::size_t kind = kind_of(size);
    if (free_[kind] != nullptr) {
      Piece* piece = free_[kind];
      free_[kind] = piece->next;
      return piece + 1;
    }
    const std::size_t whole = (std::size_t{1} << kind) + sizeof(Piece);
    if (begin_ == nullptr || whole > bytes - static_cast<std::size_t>(next_ - begin_)) {
      return nullptr;
    }
    auto* piece = new (next_) Piece{nullptr, kind};
    next_ += whole;
    return piece + 1;
  }
  void give(void* data) {
    const std::lock_guard guard(mutex_);
    Piece* piece = static_cast<Piece*>(data) - 1;
    piece->next = free_[piece->kind];
    free_[piece->kind] = piece;
  }

 private:
  struct alignas(64) Piece {
    Piece* next;
    std::size_t kind;  ///< of 2^kind bytes behind this head
  };
  static std::size_t kind_of(std::size_t size) {
    return static_cast<std::size_t>(std::bit_width(std::max(size, std::size_t{64}) - 1));
  }

  std::mutex mutex_;
  unsigned char* begin_ = nullptr;
  unsigned char* next_ = nullptr;
  std::array<Piece*, 64> free_{};
};

constinit PinnedHeap heap;

void* allocate(std::size_t size) {
  void* data = heap.take(size);
  if (data == nullptr) {
    data = std::aligned_alloc(64, (std::max(size, std::size_t{1}) + 63) / 64 * 64);
  }
  return data != nullptr ? data : throw std::bad_alloc();
}

void release(void* data) noexcept {
  if (heap.holds(data)) {
    heap.give(data);
  } else {
    std::free(data);
  }
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size);
}
void* operator new(std::size_t size, std::align_val_t) {  // of no more than 64 bytes here
  return allocate(size);
}
void operator delete(void* data) noexcept {
  release(data);
}
void operator delete(void* data, std::size_t) noexcept {
  release(data);
}
void operator delete(void* data, std::align_val_t) noexcept {
  release(data);
}
void operator delete(void* data, std::size_t, std::align_val_t) noexcept {
  release(data);
}

namespace hrm::test {
Device& test_device() {
  static const std::unique_ptr<Device> device = kernels::make_gpu(0);
  return *device;
}
}  // namespace hrm::test

int main(int argc, char** argv) {
  // Kernels are done when their call returns: tests read results at once.
  setenv("CUDA_LAUNCH_BLOCKING", "1", 1);
  if (!heap.open()) {
    std::fprintf(stderr, "test_kernels_gpu: no CUDA device with %zu bytes of page-locked memory\n", PinnedHeap::bytes);
    return 69;
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
