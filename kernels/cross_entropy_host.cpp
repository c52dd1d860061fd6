#include "kernels/cross_entropy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cross_entropy_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

float row_maximum(const float* x, std::int64_t n) {
  FloatVec largest = constant(minus_infinity);
  for_lanes(n, [&](std::int64_t i, auto count) { largest = hn::Max(load(x + i, count, minus_infinity), largest); });
  return hn::GetLane(hn::MaxOfLanes(FloatTag(), largest));
}

/// Index of the first element equal to `value`; 0 where there is none (a row with NaN).
std::int64_t first_index(const float* x, std::int64_t n, float value) {
  const FloatTag d;
  std::int64_t i = 0;
  for (; i + lanes() <= n; i += lanes()) {
    const auto equal = hn::Eq(hn::LoadU(d, x + i), constant(value));
    if (!hn::AllFalse(d, equal)) {
      return i + static_cast<std::int64_t>(hn::FindFirstTrue(d, equal));
    }
  }
  const float* found = std::find(x + i, x + n, value);
  return found == x + n ? 0 : found - x;
}

/// Σ exp(x - shift); one partial sum per lane in float32, their sum in double.
double exp_sum(const float* x, std::int64_t n, float shift) {
  FloatVec sum = zero_vector();
  for_lanes(n, [&](std::int64_t i, auto count) {
    sum = hn::Add(sum, exp_of(hn::Sub(load(x + i, count, minus_infinity), constant(shift))));
  });
  alignas(64) float parts[max_lanes] = {};
  store(sum, parts, Full{});
  return std::accumulate(parts, parts + max_lanes, 0.0);
}

template <class T>
void entropy_row(const float* x, std::int64_t n, std::int64_t label, float gradient_scale, T* out, float& loss,
                 std::int32_t& argmax) {
  const float largest = row_maximum(x, n);
  const double sum = exp_sum(x, n, largest);
  const FloatVec scale = constant(static_cast<float>(static_cast<double>(gradient_scale) / sum));
  for_lanes(n, [&](std::int64_t i, auto count) {
    const FloatVec e = exp_of(hn::Sub(load(x + i, count), constant(largest)));
    store(hn::Mul(e, scale), out + i, count);
  });
  const double log_probability = static_cast<double>(x[label]) - static_cast<double>(largest) - std::log(sum);
  // expm1: p - 1 without cancellation where the label is nearly certain.
  out[label] = from_float<T>(static_cast<float>(std::expm1(log_probability) * static_cast<double>(gradient_scale)));
  loss = static_cast<float>(-log_probability);
  argmax = static_cast<std::int32_t>(first_index(x, n, largest));
}

template <class T>
void entropy(Matrix<const float> logits, std::span<const std::int32_t> labels, float gradient_scale, Matrix<T> dlogits,
             std::span<float> loss, std::span<std::int32_t> argmax) {
  for_rows(logits.rows, logits.cols, [&](std::int64_t row) {
    const auto r = static_cast<std::size_t>(row);
    if (labels[r] < 0) {
      std::fill_n(dlogits.row(row), logits.cols, T{});
      loss[r] = 0.0F;
      argmax[r] = -1;
      return;
    }
    entropy_row(logits.row(row), logits.cols, labels[r], gradient_scale, dlogits.row(row), loss[r], argmax[r]);
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

template <class T>
void cross_entropy(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels, float gradient_scale,
                   Matrix<T> dlogits, std::span<float> loss, std::span<std::int32_t> argmax) {
  HRM_DISPATCH(entropy<T>(logits, labels, gradient_scale, dlogits, loss, argmax));
}

template void cross_entropy(Stream, Matrix<const float>, std::span<const std::int32_t>, float, Matrix<float>,
                            std::span<float>, std::span<std::int32_t>);
template void cross_entropy(Stream, Matrix<const float>, std::span<const std::int32_t>, float, Matrix<bf16>,
                            std::span<float>, std::span<std::int32_t>);

}  // namespace hrm::kernels
#endif
