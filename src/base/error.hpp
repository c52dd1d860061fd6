#pragma once
// Two roots of exceptions: your input (InputError, carries the exit code) and our bug (InternalError, exit 70).
// Only main catches and exits. Messages end with the repair.
#include <fmt/core.h>

#include <stdexcept>
#include <string>

namespace hrm {

/// Exit codes of the program (sysexits.h; README "Exit codes").
enum class ExitCode : int {
  ok = 0,
  check_failed = 1,
  usage = 64,
  bad_data = 65,
  no_input = 66,
  lost_peer = 69,
  internal = 70,
  cannot_create = 73,
  io_error = 74,
  stopped = 75,
  numerics = 76,
  bad_config = 78,
};

/// Something outside the program is wrong: a file, a key, a launch. `what()` is one line for the user.
class InputError : public std::runtime_error {
 public:
  InputError(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

/// A broken invariant of the program itself.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws InputError with a formatted message.
template <class... Args>
[[noreturn]] void fail(ExitCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw InputError(code, fmt::format(format, std::forward<Args>(args)...));
}

/// Throws InternalError naming the place unless `condition` holds. Kept in release builds.
inline void ensure(bool condition, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (!condition) {
    throw InternalError(fmt::format("{}:{}: {}", file, line, what));
  }
}

}  // namespace hrm
