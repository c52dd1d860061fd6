#pragma once
// Adam-atan2 with decoupled weight decay and EMA in one pass (golden B.3).
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/device.hpp"

namespace hrm::kernels {

/// What one update of one tensor needs, computed in double beforehand and rounded once.
struct AdamAtan2Step {
  float decay;  ///< 1 - lr * weight_decay
  float beta1;  ///< 0: no first moment (`m` is empty)
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float step_size;           ///< lr / (1 - beta1^t)
  float inverse_sqrt_bias2;  ///< 1 / sqrt(1 - beta2^t)
  float one_minus_ema;       ///< 0 with an empty `e`: no EMA
};

AdamAtan2Step adam_atan2_step(double lr, double weight_decay, double beta1, double beta2, double ema, std::int64_t t);

/// In place, for every element:
///   w *= decay; m += (1-b1)(g - m); v = b2 v + (1-b2) g²;
///   w -= step_size * atan2(m, sqrt(v) * inverse_sqrt_bias2);  e += (1-ema)(w - e).
/// atan2(0, 0) = 0. The arithmetic of an element does not depend on its place in the span. Host memory only: a GPU
/// updates all tensors of a share in one launch, below.
void adam_atan2_update(Stream, const AdamAtan2Step& step, std::span<float> w, std::span<const float> g,
                       std::span<float> m, std::span<float> v, std::span<float> e);

/// One tensor's part of a share: elements [first, first + count) of w, m, v and e, whose gradients are
/// [gradient_first, gradient_first + count) of g.
struct AdamAtan2Segment {
  AdamAtan2Step step;
  std::int64_t first;
  std::int64_t gradient_first;
  std::int64_t count;
};

/// adam_atan2_update of every segment, then compute = w rounded to T at the same places (an empty `compute` is left
/// out). Segments ascend by `first` and do not overlap; elements in none of them stay as they are, so a tensor without
/// gradient has no segment. With *accept = 0 nothing happens (null: accepted).
template <class T>
void adam_atan2_segments(Stream, std::span<const AdamAtan2Segment> segments, std::span<float> w,
                         std::span<const float> g, std::span<float> m, std::span<float> v, std::span<float> e,
                         std::span<T> compute, const std::int32_t* accept);

/// In device memory, *accept and the segments too.
namespace cuda {
template <class T>
void adam_atan2_segments(Stream, std::span<const AdamAtan2Segment> segments, std::span<float> w,
                         std::span<const float> g, std::span<float> m, std::span<float> v, std::span<float> e,
                         std::span<T> compute, const std::int32_t* accept);
}  // namespace cuda

}  // namespace hrm::kernels
