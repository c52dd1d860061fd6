#pragma once
// bfloat16 storage type: the upper 16 bits of an IEEE float32. Arithmetic happens in float32.
#include <bit>
#include <cstdint>
#include <type_traits>

namespace hrm {

struct bf16 {
  std::uint16_t bits;
};

constexpr float to_float(bf16 x) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16);
}
constexpr float to_float(float x) {
  return x;
}

/// Round to nearest, ties to even; NaN stays NaN (quiet).
constexpr bf16 to_bf16(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7fffffffU) > 0x7f800000U) {
    return bf16{static_cast<std::uint16_t>((u >> 16) | 0x40U)};
  }
  return bf16{static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16)};
}

/// Converts float32 to the storage type T (float or bf16).
template <class T>
constexpr T from_float(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return to_bf16(x);
  } else {
    return x;
  }
}

}  // namespace hrm
