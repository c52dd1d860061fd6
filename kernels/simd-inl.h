// Vectors of float over float32 and bf16 memory, and the elementary functions, for one Highway target at a time.
// A tail goes through the same vector instructions as a body, so the value of an element does not depend on its place.
#if defined(HRM_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HRM_KERNELS_SIMD_INL_H_
#undef HRM_KERNELS_SIMD_INL_H_
#else
#define HRM_KERNELS_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "base/bf16.hpp"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::int64_t max_lanes = 16;
using FloatTag = hn::CappedTag<float, max_lanes>;
using FloatVec = hn::Vec<FloatTag>;
using BitsTag = hn::Rebind<std::uint32_t, FloatTag>;
using HalfBitsTag = hn::Rebind<std::uint16_t, FloatTag>;

/// Stands for "all lanes" where a count of lanes is asked for.
struct Full {};

HWY_INLINE std::int64_t lanes() {
  return static_cast<std::int64_t>(hn::Lanes(FloatTag()));
}
HWY_INLINE FloatVec constant(float x) {
  return hn::Set(FloatTag(), x);
}
HWY_INLINE FloatVec zero_vector() {
  return hn::Zero(FloatTag());
}
HWY_INLINE float sum_of(FloatVec v) {
  return hn::GetLane(hn::SumOfLanes(FloatTag(), v));
}

HWY_INLINE FloatVec load(const float* p, Full) {
  return hn::LoadU(FloatTag(), p);
}
HWY_INLINE void store(FloatVec v, float* p, Full) {
  hn::StoreU(v, FloatTag(), p);
}

HWY_INLINE FloatVec load(const bf16* p, Full) {
  const auto half = hn::LoadU(HalfBitsTag(), &p->bits);
  return hn::BitCast(FloatTag(), hn::ShiftLeft<16>(hn::PromoteTo(BitsTag(), half)));
}

/// Bits of float32 whose upper half is the bf16 nearest to v (ties to even; NaN stays NaN).
HWY_INLINE hn::Vec<BitsTag> bf16_bits(FloatVec v) {
  const BitsTag d;
  const auto bits = hn::BitCast(d, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(d, 1U));
  const auto rounded = hn::Add(hn::Add(bits, hn::Set(d, 0x7fffU)), odd);
  const auto nan = hn::RebindMask(d, hn::IsNaN(v));
  return hn::IfThenElse(nan, hn::Or(bits, hn::Set(d, 0x400000U)), rounded);
}

HWY_INLINE void store(FloatVec v, bf16* p, Full) {
  hn::StoreU(hn::TruncateTo(HalfBitsTag(), hn::ShiftRight<16>(bf16_bits(v))), HalfBitsTag(), &p->bits);
}

/// v as it would read back from memory of type T.
template <class T>
HWY_INLINE FloatVec rounded_to(FloatVec v) {
  if constexpr (std::is_same_v<T, bf16>) {
    return hn::BitCast(FloatTag(), hn::And(bf16_bits(v), hn::Set(BitsTag(), 0xffff0000U)));
  } else {
    return v;
  }
}

/// The first `count` lanes; the others are 0. Reads nothing beyond them.
template <class T>
HWY_INLINE FloatVec load(const T* p, std::int64_t count) {
  alignas(64) T buffer[max_lanes] = {};
  std::memcpy(buffer, p, static_cast<std::size_t>(count) * sizeof(T));
  return load(buffer, Full{});
}

/// As load, with the other lanes `padding`.
HWY_INLINE FloatVec load(const float* p, Full, float) {
  return load(p, Full{});
}
HWY_INLINE FloatVec load(const float* p, std::int64_t count, float padding) {
  alignas(64) float buffer[max_lanes];
  store(constant(padding), buffer, Full{});
  std::memcpy(buffer, p, static_cast<std::size_t>(count) * sizeof(float));
  return load(buffer, Full{});
}

template <class T>
HWY_INLINE void store(FloatVec v, T* p, std::int64_t count) {
  alignas(64) T buffer[max_lanes];
  store(v, buffer, Full{});
  std::memcpy(p, buffer, static_cast<std::size_t>(count) * sizeof(T));
}

/// body(first, lanes) over [0, n): lanes is Full, at the end the number left.
template <class Body>
HWY_INLINE void for_lanes(std::int64_t n, const Body& body) {
  const std::int64_t step = lanes();
  std::int64_t i = 0;
  for (; i + step <= n; i += step) {
    body(i, Full{});
  }
  if (i < n) {
    body(i, n - i);
  }
}

/// body(r) for every row, shared among the threads when there is enough work.
template <class Body>
HWY_INLINE void for_rows(std::int64_t rows, std::int64_t cols, const Body& body) {
#pragma omp parallel for schedule(static) if (rows * cols >= 16384)
  for (std::int64_t r = 0; r < rows; ++r) {
    body(r);
  }
}

/// body(first, count) for pieces of a flat array.
template <class Body>
HWY_INLINE void for_pieces(std::int64_t n, const Body& body) {
  constexpr std::int64_t piece = 8192;
#pragma omp parallel for schedule(static) if (n >= 2 * piece)
  for (std::int64_t i = 0; i < (n + piece - 1) / piece; ++i) {
    body(i * piece, n - i * piece < piece ? n - i * piece : piece);
  }
}

/// 2^(k + r) with k in the low bits of `biased` (see exp2_bias), |r| <= 1/2. Relative error 2e-9 before rounding.
HWY_INLINE FloatVec exp2_parts(FloatVec biased, FloatVec r) {
  FloatVec p = constant(0.00015345811F);
  p = hn::MulAdd(p, r, constant(0.00133999309F));
  p = hn::MulAdd(p, r, constant(0.00961848907F));
  p = hn::MulAdd(p, r, constant(0.0555032864F));
  p = hn::MulAdd(p, r, constant(0.240226462F));
  p = hn::MulAdd(p, r, constant(0.693147182F));
  p = hn::MulAdd(p, r, constant(1.0F));
  const auto power = hn::ShiftLeft<23>(hn::BitCast(BitsTag(), biased));
  return hn::Mul(p, hn::BitCast(FloatTag(), power));
}

/// Adding 1.5 * 2^23 + 127 rounds to an integer and leaves the exponent field of 2^k in the low bits.
inline constexpr float exp2_bias = 12583039.0F;

/// 2^x; 0 below -126.5, held at 2^127 above. NaN stays NaN: it must be the second operand of Max and Min (x86).
HWY_INLINE FloatVec exp2_of(FloatVec x) {
  const FloatVec bias = constant(exp2_bias);
  x = hn::Min(constant(127.0F), hn::Max(constant(-127.0F), x));
  const FloatVec biased = hn::Add(x, bias);
  return exp2_parts(biased, hn::Sub(x, hn::Sub(biased, bias)));
}

/// e^x; 0 below -88, held at e^88 above. NaN stays NaN.
HWY_INLINE FloatVec exp_of(FloatVec x) {
  const FloatVec bias = constant(exp2_bias);
  const FloatVec log2e = constant(1.44269502F);
  x = hn::Min(constant(88.0F), hn::Max(constant(-88.0F), x));
  const FloatVec biased = hn::MulAdd(x, log2e, bias);
  const FloatVec r = hn::MulSub(x, log2e, hn::Sub(biased, bias));
  return exp2_parts(biased, hn::MulAdd(x, constant(1.92596303e-8F), r));
}

HWY_INLINE FloatVec sigmoid_of(FloatVec x) {
  const FloatVec one = constant(1.0F);
  return hn::Div(one, hn::Add(one, exp_of(hn::Neg(x))));
}

/// atan2(y, x) for x >= 0, with atan2(0, 0) = 0. Relative error 2e-9 of the polynomial on [0, 1].
HWY_INLINE FloatVec atan2_of(FloatVec y, FloatVec x) {
  const FloatVec a = hn::Abs(y);
  const FloatVec larger = hn::Max(a, x);
  const FloatVec t = hn::IfThenZeroElse(hn::Eq(larger, zero_vector()), hn::Div(hn::Min(a, x), larger));
  const FloatVec u = hn::Mul(t, t);
  FloatVec p = constant(-0.00175392802F);
  p = hn::MulAdd(p, u, constant(0.0107269343F));
  p = hn::MulAdd(p, u, constant(-0.0308045782F));
  p = hn::MulAdd(p, u, constant(0.0575520843F));
  p = hn::MulAdd(p, u, constant(-0.0837731436F));
  p = hn::MulAdd(p, u, constant(0.1094203F));
  p = hn::MulAdd(p, u, constant(-0.142619327F));
  p = hn::MulAdd(p, u, constant(0.199982658F));
  p = hn::MulAdd(p, u, constant(-0.333332837F));
  p = hn::MulAdd(hn::Mul(p, u), t, t);
  const FloatVec angle = hn::IfThenElse(hn::Gt(a, x), hn::Sub(constant(1.57079637F), p), p);
  return hn::CopySign(angle, y);
}

}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#endif  // HRM_KERNELS_SIMD_INL_H_
