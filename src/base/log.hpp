#pragma once
// Lines for people on standard error. Only the reporting rank prints; every other rank is silent.
#include <fmt/core.h>

#include <string>

namespace hrm::log {

/// Rank of this process for messages; only rank 0 prints `info` and `warn`. Called once after MPI starts.
void set_rank(int rank);
int rank();

void line(const std::string& text);

template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  line(fmt::format("hrm: {}", fmt::format(format, std::forward<Args>(args)...)));
}
template <class... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  line(fmt::format("hrm: warning: {}", fmt::format(format, std::forward<Args>(args)...)));
}

}  // namespace hrm::log
