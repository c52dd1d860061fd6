#pragma once
// Work that may crash, done by a child process: libhdf5 1.10 ends with a signal on some damaged files.
#include <functional>
#include <string>

namespace hrm::io {

struct ChildAnswer {
  enum class Kind { value, error, crash };
  Kind kind = Kind::crash;
  std::string text;  ///< what `work` returned; what() of what it threw; how the process ended
};

/// Runs `work` in a fork of this process, which has no other threads at work, for at most `seconds`.
ChildAnswer run_in_child(unsigned seconds, const std::function<std::string()>& work);

}  // namespace hrm::io
