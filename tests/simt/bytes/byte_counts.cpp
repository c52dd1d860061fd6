// Bytes that kernels read and write in device memory. The compiler's instrumentation for ThreadSanitizer calls a
// function before every access; linked to these functions in place of the sanitizer's, a program counts accesses
// instead of looking for races. With HRM_SIMT_BYTES=PREFIX in the environment the process writes PREFIX.PID when it
// ends: a line "read written name" per kernel. Requests are counted, not what a cache would let through.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "simt/control.hpp"
#include "simt/kernel_names.hpp"
#include "simt/multiprocessor.hpp"
#include "simt/runtime.hpp"

namespace hrm::simt {
namespace {

struct Bytes {
  std::int64_t read = 0;
  std::int64_t written = 0;
};

class ByteCounts {
 public:
  ~ByteCounts() {
    if (prefix_ == nullptr) {
      return;
    }
    std::map<std::string, Bytes> named;
    for (const auto& [kernel, bytes] : by_kernel_) {
      Bytes& sum = named[kernel_name(kernel)];
      sum.read += bytes.read;
      sum.written += bytes.written;
    }
    std::ofstream file(fmt::format("{}.{}", prefix_, getpid()));
    for (const auto& [name, bytes] : named) {
      file << fmt::format("{} {} {}\n", bytes.read, bytes.written, name);
    }
  }

  void count(const void* address, std::size_t bytes, std::int64_t Bytes::*direction) {
    if (prefix_ != nullptr && on_device(address)) {
      by_kernel_[last_launched()].*direction += static_cast<std::int64_t>(bytes);
    }
  }

 private:
  /// in_device_memory, remembered for the 16 bytes around an address while the kernel runs, which allocates nothing.
  bool on_device(const void* address) {
    const auto place = reinterpret_cast<std::uintptr_t>(address) / 16;
    Known& known = known_[place % known_.size()];
    const std::int64_t launch = hrm::simt::counts().launches;
    if (known.place != place || known.launch != launch) {
      known = {place, launch, in_device_memory(address)};
    }
    return known.device;
  }

  struct Known {
    std::uintptr_t place = 0;
    std::int64_t launch = -1;
    bool device = false;
  };
  std::array<Known, 16384> known_{};
  const char* prefix_ = std::getenv("HRM_SIMT_BYTES");
  std::map<const void*, Bytes> by_kernel_;
};

/// How often a fiber asked not to be looked at: the shim does where it works on its own behalf.
struct Muting {
  int muted = 0;
};
thread_local Muting own;
thread_local Muting* running = nullptr;

Muting* current() {
  return running == nullptr ? &own : running;
}

/// Only accesses of kernels count, not those that counting makes: the shim asked for its memory is instrumented too.
void count(const void* address, std::size_t bytes, std::int64_t Bytes::*direction) {
  if (multiprocessor_now != nullptr && current()->muted == 0) {
    static ByteCounts counts;
    Muting& now = *current();
    ++now.muted;
    counts.count(address, bytes, direction);
    --now.muted;
  }
}

}  // namespace
}  // namespace hrm::simt

#define HRM_COUNT(suffix, bytes)                                  \
  void __tsan_read##suffix(void* address) {                       \
    hrm::simt::count(address, bytes, &hrm::simt::Bytes::read);    \
  }                                                               \
  void __tsan_write##suffix(void* address) {                      \
    hrm::simt::count(address, bytes, &hrm::simt::Bytes::written); \
  }

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): names that the compiler calls
extern "C" {
HRM_COUNT(1, 1)
HRM_COUNT(2, 2)
HRM_COUNT(4, 4)
HRM_COUNT(8, 8)
HRM_COUNT(16, 16)
void __tsan_read_range(void* address, unsigned long bytes) {
  hrm::simt::count(address, bytes, &hrm::simt::Bytes::read);
}
void __tsan_write_range(void* address, unsigned long bytes) {
  hrm::simt::count(address, bytes, &hrm::simt::Bytes::written);
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_acquire(void*) {}
void __tsan_release(void*) {}
unsigned char __tsan_atomic8_load(const volatile unsigned char* address, int) {
  return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}
void* __tsan_get_current_fiber() {
  return hrm::simt::current();
}
void* __tsan_create_fiber(unsigned) {
  return new hrm::simt::Muting;
}
void __tsan_destroy_fiber(void* fiber) {
  delete static_cast<hrm::simt::Muting*>(fiber);
}
void __tsan_switch_to_fiber(void* fiber, unsigned) {
  hrm::simt::running = static_cast<hrm::simt::Muting*>(fiber);
}
void AnnotateIgnoreReadsBegin(const char*, int) {
  ++hrm::simt::current()->muted;
}
void AnnotateIgnoreReadsEnd(const char*, int) {
  --hrm::simt::current()->muted;
}
void AnnotateIgnoreWritesBegin(const char*, int) {}
void AnnotateIgnoreWritesEnd(const char*, int) {}
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
