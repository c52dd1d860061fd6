#pragma once
// What the communicators of this process did last, for a watchdog's report.
#include <string>

namespace hrm::comm {

/// Notes that `operation` (a literal) begins. Any thread.
void note_operation(const char* operation) noexcept;

/// "MPI_Waitall (operation 123)"; "no operation" before the first.
std::string last_operation();

}  // namespace hrm::comm
