#include "kernels/cross_entropy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/cuda_dispatch.hpp"
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

/// The part of columns x (n) whose first is token `first`.
EntropyPart part_of(const float* x, std::int64_t n, std::int64_t label, std::int64_t first) {
  EntropyPart part;
  part.maximum = row_maximum(x, n);
  part.exp_sum = exp_sum(x, n, part.maximum);
  const std::int64_t column = label - first;
  part.label_logit = column >= 0 && column < n ? x[column] : 0.0F;
  part.argmax = static_cast<std::int32_t>(first + first_index(x, n, part.maximum));
  return part;
}

/// dlogits of columns x (n); `column` is the label's, outside [0, n) where it lies in another shard.
template <class T>
void gradient_row(const float* x, std::int64_t n, std::int64_t column, const EntropyPart& whole, float gradient_scale,
                  T* out) {
  const FloatVec scale = constant(static_cast<float>(static_cast<double>(gradient_scale) / whole.exp_sum));
  for_lanes(n, [&](std::int64_t i, auto count) {
    const FloatVec e = exp_of(hn::Sub(load(x + i, count), constant(whole.maximum)));
    store(hn::Mul(e, scale), out + i, count);
  });
  if (column >= 0 && column < n) {
    // expm1: p - 1 without cancellation where the label is nearly certain.
    out[column] =
        from_float<T>(static_cast<float>(std::expm1(whole.log_probability()) * static_cast<double>(gradient_scale)));
  }
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
    const EntropyPart whole = part_of(logits.row(row), logits.cols, labels[r], 0);
    gradient_row(logits.row(row), logits.cols, labels[r], whole, gradient_scale, dlogits.row(row));
    loss[r] = static_cast<float>(-whole.log_probability());
    argmax[r] = whole.argmax;
  });
}

void entropy_parts(Matrix<const float> logits, std::span<const std::int32_t> labels, std::int32_t first,
                   std::span<EntropyPart> parts) {
  for_rows(logits.rows, logits.cols, [&](std::int64_t row) {
    const auto r = static_cast<std::size_t>(row);
    parts[r] = labels[r] < 0 ? EntropyPart{} : part_of(logits.row(row), logits.cols, labels[r], first);
  });
}

template <class T>
void entropy_gradient(Matrix<const float> logits, std::span<const std::int32_t> labels, std::int32_t first,
                      std::span<const EntropyPart> whole, float gradient_scale, Matrix<T> dlogits) {
  for_rows(logits.rows, logits.cols, [&](std::int64_t row) {
    const auto r = static_cast<std::size_t>(row);
    if (labels[r] < 0) {
      std::fill_n(dlogits.row(row), logits.cols, T{});
      return;
    }
    gradient_row(logits.row(row), logits.cols, labels[r] - first, whole[r], gradient_scale, dlogits.row(row));
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

namespace {

/// Of two shards, `a` with the lower tokens: a tie in the maximum is a's.
EntropyPart joined(const EntropyPart& a, const EntropyPart& b) {
  EntropyPart sum = b.maximum > a.maximum ? b : a;
  const auto weight = [&](const EntropyPart& part) {
    return part.exp_sum * std::exp(static_cast<double>(part.maximum) - static_cast<double>(sum.maximum));
  };
  sum.exp_sum = weight(a) + weight(b);
  sum.label_logit = a.label_logit + b.label_logit;
  return sum;
}

}  // namespace

template <class T>
void cross_entropy(Stream stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                   float gradient_scale, Matrix<T> dlogits, std::span<float> loss, std::span<std::int32_t> argmax) {
  HRM_CUDA_DISPATCH(stream, cross_entropy<T>(stream, logits, labels, gradient_scale, dlogits, loss, argmax));
  HRM_DISPATCH(entropy<T>(logits, labels, gradient_scale, dlogits, loss, argmax));
}

void cross_entropy_parts(Stream stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                         std::int32_t first, std::span<EntropyPart> parts) {
  HRM_CUDA_DISPATCH(stream, cross_entropy_parts(stream, logits, labels, first, parts));
  HRM_DISPATCH(entropy_parts(logits, labels, first, parts));
}

void cross_entropy_join(Stream stream, std::span<EntropyPart> parts, std::span<const std::int32_t> labels,
                        std::span<float> loss, std::span<std::int32_t> argmax) {
  HRM_CUDA_DISPATCH(stream, cross_entropy_join(stream, parts, labels, loss, argmax));
  const std::size_t rows = labels.size();
  for (std::size_t r = 0; r < rows; ++r) {
    EntropyPart& whole = parts[r];
    if (labels[r] < 0) {
      loss[r] = 0.0F;
      argmax[r] = -1;
      continue;
    }
    for (std::size_t p = r + rows; p < parts.size(); p += rows) {
      whole = joined(whole, parts[p]);
    }
    loss[r] = static_cast<float>(-whole.log_probability());
    argmax[r] = whole.argmax;
  }
}

template <class T>
void cross_entropy_gradient(Stream stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                            std::int32_t first, std::span<const EntropyPart> whole, float gradient_scale,
                            Matrix<T> dlogits) {
  HRM_CUDA_DISPATCH(stream, cross_entropy_gradient<T>(stream, logits, labels, first, whole, gradient_scale, dlogits));
  HRM_DISPATCH(entropy_gradient<T>(logits, labels, first, whole, gradient_scale, dlogits));
}

template void cross_entropy_gradient(Stream, Matrix<const float>, std::span<const std::int32_t>, std::int32_t,
                                     std::span<const EntropyPart>, float, Matrix<float>);
template void cross_entropy_gradient(Stream, Matrix<const float>, std::span<const std::int32_t>, std::int32_t,
                                     std::span<const EntropyPart>, float, Matrix<bf16>);
template void cross_entropy(Stream, Matrix<const float>, std::span<const std::int32_t>, float, Matrix<float>,
                            std::span<float>, std::span<std::int32_t>);
template void cross_entropy(Stream, Matrix<const float>, std::span<const std::int32_t>, float, Matrix<bf16>,
                            std::span<float>, std::span<std::int32_t>);

}  // namespace hrm::kernels
#endif
