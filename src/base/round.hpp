#pragma once
#include <cstdint>

namespace hrm {

/// Least multiple of `multiple` that is not below n >= 0.
constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace hrm
