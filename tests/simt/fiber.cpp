#include "simt/fiber.hpp"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <new>

#ifndef HRM_SIMT_PORTABLE
extern "C" void hrm_simt_switch(void** save_stack_pointer, void* stack_pointer);
// Saves what a function must leave as it found it. A jump in place of `ret`: the return predictor would always be
// wrong.
asm(R"(
  .text
  .globl hrm_simt_switch
  .type hrm_simt_switch, @function
hrm_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
  .size hrm_simt_switch, .-hrm_simt_switch
)");
#endif

namespace hrm::simt {

namespace {

constexpr std::size_t stack_bytes = std::size_t{256} << 10;

}  // namespace

Fiber::Fiber() {
  pthread_attr_t attributes;
  void* bottom = nullptr;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &bottom, &bytes_);
  pthread_attr_destroy(&attributes);
  bottom_ = static_cast<char*>(bottom);
#ifdef HRM_SIMT_TSAN
  sanitizer_ = __tsan_get_current_fiber();
#endif
}

Fiber::Fiber(void (*entry)(), unsigned number) : entry_(entry), number_(number), bytes_(stack_bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  mapping_ = mmap(nullptr, page + bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED || mprotect(mapping_, page, PROT_NONE) != 0) {
    throw std::bad_alloc();
  }
  bottom_ = static_cast<char*>(mapping_) + page;
  restart();
}

Fiber::~Fiber() {
  if (mapping_ == nullptr) {
    return;
  }
  munmap(mapping_, static_cast<std::size_t>(bottom_ - static_cast<char*>(mapping_)) + bytes_);
}

void Fiber::restart() {
#ifdef HRM_SIMT_TSAN
  // Never destroyed: a fiber rests inside the muted shim, and ThreadSanitizer complains about an end there.
  sanitizer_ = __tsan_create_fiber(0);
#endif
#ifdef HRM_SIMT_ASAN
  sanitizer_ = nullptr;
  __asan_unpoison_memory_region(bottom_, bytes_);
#endif
  const std::size_t shift = number_ * 192 % 4096;
#ifdef HRM_SIMT_PORTABLE
  getcontext(&context_);
  context_.uc_stack.ss_sp = bottom_;
  context_.uc_stack.ss_size = bytes_ - shift;
  context_.uc_link = nullptr;
  makecontext(&context_, entry_, 0);
#else
  // Six registers, the entry, and a return address of null, at which a debugger's walk ends. The stack is then 8 bytes
  // off a multiple of 16, as behind every call.
  auto** top = reinterpret_cast<void**>(bottom_ + bytes_ - shift);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(entry_);
  for (int i = 0; i < 6; ++i) {
    *--top = nullptr;
  }
  stack_pointer_ = top;
#endif
}

void Fiber::entered() {
#ifdef HRM_SIMT_ASAN
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

void Fiber::go(Fiber& from, Fiber& to) {
#ifdef HRM_SIMT_ASAN
  __sanitizer_start_switch_fiber(&from.sanitizer_, to.bottom_, to.bytes_);
#endif
#ifdef HRM_SIMT_TSAN
  __tsan_switch_to_fiber(to.sanitizer_, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef HRM_SIMT_PORTABLE
  swapcontext(&from.context_, &to.context_);
#else
  hrm_simt_switch(&from.stack_pointer_, to.stack_pointer_);
#endif
#ifdef HRM_SIMT_ASAN
  __sanitizer_finish_switch_fiber(from.sanitizer_, nullptr, nullptr);
#endif
}

}  // namespace hrm::simt
