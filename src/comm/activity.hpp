#pragma once
// Signs of life of this process and what its communicators did last, for a watchdog.
#include <cstdint>
#include <string>

namespace hrm::comm {

/// Notes that `operation` (a literal) begins. Any thread.
void note_operation(const char* operation) noexcept;

/// Notes that work goes on without the others: a piece of a file, of an answer. Any thread.
void note_progress() noexcept;

/// One call that may take long, such as making a file durable, while this lives: a watchdog has more patience. Any
/// thread.
class LongCall {
 public:
  LongCall() noexcept;
  ~LongCall();
  LongCall(const LongCall&) = delete;
  LongCall& operator=(const LongCall&) = delete;
};

/// Whether a thread is in one.
bool in_long_call() noexcept;

/// Changes with every note: what does not change for long hangs.
std::uint64_t notes() noexcept;

/// "MPI_Waitall (operation 123)"; "no operation" before the first.
std::string last_operation();

}  // namespace hrm::comm
