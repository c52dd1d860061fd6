#pragma once
// Results on standard output. What cannot be written ends the command with 74; a reader that went away ("| head") is no
// fault, and gets no more.
#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace hrm::output {

void write(std::string_view text);

template <class... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
  write(fmt::format(format, std::forward<Args>(args)...));
}

/// Sends on what is held back: the end of a command that went well.
void finish();

}  // namespace hrm::output
