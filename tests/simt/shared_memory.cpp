#include "simt/shared_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#include "simt/multiprocessor.hpp"

namespace hrm::simt {

void SharedMemory::Release::operator()(unsigned char* memory) const {
  ::operator delete (memory, std::align_val_t{alignment});
}

void SharedMemory::add(const void* key, std::size_t bytes, std::size_t alignment) {
  auto* memory = static_cast<unsigned char*>(::operator new (bytes, std::align_val_t{alignment}));
  std::memset(memory, 0xff, bytes);
  variables_.push_back({key, bytes, {memory, Release{alignment}}});
}

void SharedMemory::prepare(std::size_t bytes) {
  variables_.clear();
  static_bytes_ = 0;
  add(nullptr, bytes, 128);
}

void SharedMemory::poison() {
  for (const Variable& variable : variables_) {
    std::memset(variable.memory.get(), 0xff, variable.bytes);
  }
}

void* SharedMemory::variable(const void* key, std::size_t bytes, std::size_t alignment) {
  const auto found =
      std::find_if(variables_.begin(), variables_.end(), [&](const Variable& v) { return v.key == key; });
  if (found != variables_.end()) {
    return found->memory.get();
  }
  static_bytes_ += bytes;
  if (static_bytes_ > max_static_shared) {
    kernel_error(
        fmt::format("{} bytes of static shared memory: a block may have {}", static_bytes_, max_static_shared));
  }
  if (static_bytes_ + variables_.front().bytes > max_shared) {
    kernel_error(fmt::format("{} bytes of static and {} of dynamic shared memory: a block may have {}", static_bytes_,
                             variables_.front().bytes, max_shared));
  }
  add(key, bytes, std::max<std::size_t>(alignment, 16));
  return variables_.back().memory.get();
}

void SharedMemory::check_16(const void* memory, const char* what) const {
  const auto address = reinterpret_cast<std::uintptr_t>(memory);
  if (address % 16 != 0) {
    kernel_error(fmt::format("{}: address {} in shared memory is not aligned to 16", what, memory));
  }
  const bool inside = std::any_of(variables_.begin(), variables_.end(), [&](const Variable& v) {
    const auto start = reinterpret_cast<std::uintptr_t>(v.memory.get());
    return address >= start && address + 16 <= start + v.bytes;
  });
  if (!inside) {
    kernel_error(fmt::format("{}: 16 bytes at {} do not lie in shared memory", what, memory));
  }
}

}  // namespace hrm::simt
