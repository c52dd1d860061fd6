#pragma once
// A stack of its own and the switch to it: tens of nanoseconds on x86-64, where no system call is involved.
#include <cstddef>

#include "simt/sanitizers.hpp"

#if !defined(__x86_64__) || defined(HRM_SIMT_UCONTEXT)
#define HRM_SIMT_PORTABLE 1
#include <ucontext.h>
#endif

namespace hrm::simt {

/// Never moves to another thread of the operating system.
class Fiber {
 public:
  /// The stack that the caller runs on.
  Fiber();
  /// A stack of 256 KiB over a guard page, on which `entry` starts at the first switch; it must not return. `number`
  /// shifts the start a little, so that equal frames of many stacks do not fall into one set of the cache.
  Fiber(void (*entry)(), unsigned number);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Forgets what the stack holds: `entry` starts anew at the next switch.
  void restart();
  /// First call of `entry`.
  static void entered();
  /// Leaves `from`, which must be running, and goes on with `to`.
  static void go(Fiber& from, Fiber& to);

 private:
  void* stack_pointer_ = nullptr;
  void (*entry_)() = nullptr;
  unsigned number_ = 0;
  void* mapping_ = nullptr;
  char* bottom_ = nullptr;
  std::size_t bytes_ = 0;
#ifdef HRM_SIMT_PORTABLE
  ucontext_t context_{};
#endif
  void* sanitizer_ = nullptr;  ///< AddressSanitizer's fake stack or ThreadSanitizer's fiber
};

}  // namespace hrm::simt
