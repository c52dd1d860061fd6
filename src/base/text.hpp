#pragma once
// Small helpers for texts.
#include <cstdlib>
#include <string>
#include <string_view>

namespace hrm {

/// `text` without blanks, tabs and line ends at both ends: the view lives as long as what `text` views.
inline std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n\f\v";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// Value of an environment variable, empty where it is not set.
inline std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace hrm
