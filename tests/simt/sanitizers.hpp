#pragma once
// What the sanitizers have to be told about threads that they do not see: nothing in a plain build.
#if defined(__SANITIZE_THREAD__)
#define HRM_SIMT_TSAN 1
#include <sanitizer/tsan_interface.h>
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#elif defined(__SANITIZE_ADDRESS__)
#define HRM_SIMT_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace hrm::simt {

// Inlined everywhere: code without sanitizers, linked to code with them, would bring empty functions of these names.
#define HRM_SIMT_INLINE inline __attribute__((always_inline))

HRM_SIMT_INLINE void mute() {
#ifdef HRM_SIMT_TSAN
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}
HRM_SIMT_INLINE void unmute() {
#ifdef HRM_SIMT_TSAN
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

/// The shim's own reads and writes are no accesses of the kernel: threads of a block take turns inside the shim without
/// any order that the kernel could count on. So ThreadSanitizer does not look while one of these lives.
class Muted {
 public:
  HRM_SIMT_INLINE Muted() { mute(); }
  HRM_SIMT_INLINE ~Muted() { unmute(); }
  Muted(const Muted&) = delete;
  Muted& operator=(const Muted&) = delete;
};
/// Looks again, while this lives inside a Muted.
class Unmuted {
 public:
  HRM_SIMT_INLINE Unmuted() { unmute(); }
  HRM_SIMT_INLINE ~Unmuted() { mute(); }
  Unmuted(const Unmuted&) = delete;
  Unmuted& operator=(const Unmuted&) = delete;
};

/// What the caller did before becomes visible to whoever calls acquire_order later.
HRM_SIMT_INLINE void release_order([[maybe_unused]] void* object) {
#ifdef HRM_SIMT_TSAN
  __tsan_release(object);
#endif
}
HRM_SIMT_INLINE void acquire_order([[maybe_unused]] void* object) {
#ifdef HRM_SIMT_TSAN
  __tsan_acquire(object);
#endif
}

#undef HRM_SIMT_INLINE

}  // namespace hrm::simt
