#include "base/buffer.hpp"

#include <array>
#include <atomic>
#include <cstdlib>

#include "base/error.hpp"

namespace hrm {
namespace {

std::array<std::atomic<std::size_t>, static_cast<std::size_t>(MemoryPart::count)> live_bytes{};

std::atomic<std::size_t>& counter(MemoryPart part) { return live_bytes[static_cast<std::size_t>(part)]; }

std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

const char* name(MemoryPart part) {
  constexpr std::array<const char*, static_cast<std::size_t>(MemoryPart::count)> names = {
      "weights", "gradients", "tree", "optimizer", "activations", "workspace", "data"};
  return names.at(static_cast<std::size_t>(part));
}

std::size_t memory_bytes(MemoryPart part) { return counter(part).load(); }

std::size_t memory_bytes_total() {
  std::size_t sum = 0;
  for (const auto& bytes : live_bytes) {
    sum += bytes.load();
  }
  return sum;
}

void* allocate_bytes(std::size_t bytes, MemoryPart part) {
  if (bytes == 0) {
    return nullptr;
  }
  void* data = std::aligned_alloc(64, padded(bytes));
  if (data == nullptr) {
    fail(ExitCode::bad_config,
         "cannot allocate {} bytes for {}; use more ranks, fewer pack_tokens or train.recompute = true", bytes,
         name(part));
  }
  std::memset(data, 0, padded(bytes));
  counter(part) += bytes;
  return data;
}

void free_bytes(void* data, std::size_t bytes, MemoryPart part) noexcept {
  if (data != nullptr) {
    counter(part) -= bytes;
    std::free(data);
  }
}

}  // namespace hrm
