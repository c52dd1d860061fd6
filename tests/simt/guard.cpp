#include "simt/guard.hpp"

#include <execinfo.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <new>

#include "simt/multiprocessor.hpp"

namespace hrm::simt {
namespace {

/// Addresses without memory; what is used of them is opened and closed as a whole.
struct Arena {
  static constexpr std::size_t bytes = std::size_t{256} << 30;
  char* start = nullptr;
  std::size_t used = 0;
  int open = 0;  ///< lives of DeviceWork
  std::mutex lock;

  bool holds(const void* memory) const {
    const auto* byte = static_cast<const char*>(memory);
    return start != nullptr && byte >= start && byte < start + bytes;
  }
  void protect() const {
    if (start != nullptr && mprotect(start, used, open > 0 ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) {
      throw std::bad_alloc();
    }
  }
};
Arena arena;

constexpr std::size_t page = 4096;

void say_who(int, siginfo_t* info, void*) {
  if (arena.holds(info->si_addr)) {
    constexpr char text[] = "the host touched device memory, or a kernel memory that was freed:\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, sizeof text - 1);
    std::array<void*, 32> frames;
    backtrace_symbols_fd(frames.data(), backtrace(frames.data(), static_cast<int>(frames.size())), STDERR_FILENO);
  }
  // The access happens again, and ends the process as it would without the guard.
  std::signal(SIGSEGV, SIG_DFL);
}

void reserve() {
  void* memory = mmap(nullptr, Arena::bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::bad_alloc();
  }
  arena.start = static_cast<char*>(memory);
  struct sigaction action {};
  action.sa_sigaction = say_who;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
}

}  // namespace

void* allocate_guarded(std::size_t bytes) {
  const std::lock_guard lock(arena.lock);
  if (arena.start == nullptr) {
    reserve();
  }
  const std::size_t rounded = (bytes + page - 1) / page * page;
  if (arena.used + rounded > Arena::bytes) {
    throw std::bad_alloc();
  }
  char* memory = arena.start + arena.used;
  arena.used += rounded;
  arena.protect();
  return memory;
}

bool release_guarded(void* memory, std::size_t bytes) {
  if (!arena.holds(memory)) {
    return false;
  }
  madvise(memory, (bytes + page - 1) / page * page, MADV_DONTNEED);
  return true;
}

DeviceWork::DeviceWork() {
  const std::lock_guard lock(arena.lock);
  if (arena.open++ == 0) {
    arena.protect();
  }
}

DeviceWork::~DeviceWork() {
  const std::lock_guard lock(arena.lock);
  if (--arena.open == 0) {
    arena.protect();
  }
}

void check_argument(const void* argument, std::size_t bytes, int index) {
  for (std::size_t at = 0; at + sizeof(std::uintptr_t) <= bytes; at += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    std::memcpy(&word, static_cast<const char*>(argument) + at, sizeof word);
    const auto address = reinterpret_cast<const void*>(word);
    // Where Linux puts programs, heaps and stacks; a number is hardly ever there, and then no memory is.
    const bool likely = word >> 40 != 0 && word >> 47 == 0 && !arena.holds(address);
    unsigned char resident = 0;
    if (likely && mincore(reinterpret_cast<void*>(word / page * page), 1, &resident) == 0) {
      kernel_error(fmt::format("argument {} points to memory of the host, {}", index, address));
    }
  }
}

}  // namespace hrm::simt
