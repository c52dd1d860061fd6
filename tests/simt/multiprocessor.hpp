#pragma once
// Runs the threads of one block after the other, each as a fiber that goes on until it has to wait for others: what a
// multiprocessor of a GPU is to a kernel. One for each thread of the operating system that launches kernels.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "simt/async_copies.hpp"
#include "simt/control.hpp"
#include "simt/fiber.hpp"
#include "simt/shared_memory.hpp"
#include "simt/toolkit/vector_types.h"

namespace hrm::simt {

/// A place in a kernel's source. As a default argument, current() is the place of the call.
struct Where {
  const char* file = nullptr;
  int line = 0;

  static constexpr Where current(const char* file_here = __builtin_FILE(), int line_here = __builtin_LINE()) {
    return {file_here, line_here};
  }
};

constexpr unsigned warp_size = 32;
constexpr unsigned max_threads = 1024;

/// What a thread waits at, for reports.
struct Call {
  const char* name = nullptr;
  Where where{};
  unsigned mask = 0;

  bool same(const Call& other) const;
  std::string text() const;
};

/// One thread of the block.
struct Thread {
  Thread(void (*entry)(), unsigned place) : fiber(entry, place), number(place) {}

  Fiber fiber;
  uint3 index{};  ///< threadIdx
  unsigned number;
  Call waits;  ///< name null: does not wait
  PendingCopies copies;

  unsigned warp() const { return number / warp_size; }
  unsigned lane() const { return number % warp_size; }
};

/// Lanes of one warp in one call. The last to arrive does the work for all.
struct Meeting {
  Call call;
  unsigned arrived = 0;
  std::array<void*, warp_size> operands{};
  std::array<char, 2> order{};  ///< for sanitizers
  unsigned round = 0;
};

/// Grid, block, and what each thread runs: body(arguments).
struct Launch {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  void (*body)(const void* arguments) = nullptr;
  const void* arguments = nullptr;
  const void* kernel = nullptr;  ///< for reports
};

class Multiprocessor {
 public:
  /// The one of the calling thread.
  static Multiprocessor& own();

  /// Throws KernelError for what the kernel or the launch does wrong, and what the kernel throws.
  void run(const Launch& launch);

  uint3 block_index{};
  dim3 block_size{};
  dim3 grid_size{};
  SharedMemory shared;

  /// The meeting if the caller is the last to arrive; else, once the last has called part(), null.
  Meeting* meet(const Call& call, void* operand);
  /// Lets the others of the meeting go on.
  void part(Meeting& meeting);
  /// The lanes of the mask wait for each other; what each wrote before, all see behind it.
  void sync_warp(const Call& call);
  /// Waits for all threads of the block. Returns how many of them gave a value other than 0.
  int barrier(const Call& call, int value);

 private:
  struct Warp {
    unsigned alive = 0;
    unsigned pending = 0;  ///< which meetings have begun and wait for lanes
    std::array<Meeting, warp_size> meetings;
  };

  void prepare(const Launch& launch);
  void run_blocks();
  static void live();
  /// The pending meeting of these lanes, or a free place for one.
  static Meeting& meeting_of(Warp& warp, unsigned mask);
  void start_block();
  /// Waits until another thread makes the current one ready.
  void suspend(const Call& call);
  /// With a seed: sometimes another thread goes first.
  void give_way();
  /// The current thread has run its kernel to the end; the fiber that goes on.
  Fiber& leave();
  Thread& next_ready();
  void go(Fiber& from, Thread& to);
  bool is_ready(unsigned thread) const { return (ready_[thread / 64] >> thread % 64 & 1) != 0; }
  void make_ready(unsigned warp, unsigned lanes);
  static void check(const Launch& launch);
  std::string state_of(unsigned thread) const;
  std::string report() const;

  Launch launch_;
  unsigned count_ = 0;  ///< threads of a block
  std::vector<std::unique_ptr<Thread>> threads_;
  std::array<Warp, max_threads / warp_size> warps_;
  std::array<std::uint64_t, max_threads / 64> ready_{};
  unsigned left_ = 0;

  Call barrier_;
  unsigned at_barrier_ = 0;
  int barrier_sum_ = 0;
  int barrier_result_ = 0;
  unsigned barrier_round_ = 0;
  std::array<char, 2> barrier_order_{};
  char start_order_ = 0;
  char end_order_ = 0;

  std::uint64_t random_ = 0;  ///< 0: in order
  Fiber host_;
  std::exception_ptr failure_;
};

extern constinit thread_local Thread* thread_now;
extern constinit thread_local Multiprocessor* multiprocessor_now;

/// Throws KernelError.
[[noreturn]] void kernel_error(const std::string& what);

/// All lanes of `mask` meet here; the last runs work(operands of all lanes by lane, mask), where a lane out of the mask
/// has none.
template <class Operand, class Work>
void collective(const Call& call, Operand& operand, const Work& work) {
  const Muted muted;
  Multiprocessor& processor = *multiprocessor_now;
  if (Meeting* meeting = processor.meet(call, &operand)) {
    std::array<Operand*, warp_size> operands;
    for (unsigned lane = 0; lane < warp_size; ++lane) {
      operands[lane] = static_cast<Operand*>(meeting->operands[lane]);
    }
    work(operands);
    processor.part(*meeting);
  }
}

}  // namespace hrm::simt
