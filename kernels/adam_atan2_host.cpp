#include "kernels/adam_atan2.hpp"

#include <cmath>

#include "base/error.hpp"
#include "kernels/cuda_dispatch.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/adam_atan2_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

void update(const AdamAtan2Step& step, std::span<float> w, std::span<const float> g, std::span<float> m,
            std::span<float> v, std::span<float> e) {
  for_pieces(static_cast<std::int64_t>(w.size()), [&](std::int64_t first, std::int64_t n) {
    for_lanes(n, [&](std::int64_t i, auto count) {
      const std::int64_t at = first + i;
      const FloatVec gradient = load(g.data() + at, count);
      FloatVec momentum = gradient;
      if (!m.empty()) {
        const FloatVec old = load(m.data() + at, count);
        momentum = hn::MulAdd(constant(step.one_minus_beta1), hn::Sub(gradient, old), old);
        store(momentum, m.data() + at, count);
      }
      const FloatVec square = hn::Mul(hn::Mul(constant(step.one_minus_beta2), gradient), gradient);
      const FloatVec second = hn::MulAdd(constant(step.beta2), load(v.data() + at, count), square);
      store(second, v.data() + at, count);
      const FloatVec angle = atan2_of(momentum, hn::Mul(hn::Sqrt(second), constant(step.inverse_sqrt_bias2)));
      const FloatVec decayed = hn::Mul(load(w.data() + at, count), constant(step.decay));
      const FloatVec weight = hn::NegMulAdd(constant(step.step_size), angle, decayed);
      store(weight, w.data() + at, count);
      if (!e.empty()) {
        const FloatVec old = load(e.data() + at, count);
        store(hn::MulAdd(constant(step.one_minus_ema), hn::Sub(weight, old), old), e.data() + at, count);
      }
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

AdamAtan2Step adam_atan2_step(double lr, double weight_decay, double beta1, double beta2, double ema, std::int64_t t) {
  const auto updates = static_cast<double>(t);
  AdamAtan2Step step{};
  step.decay = static_cast<float>(1.0 - lr * weight_decay);
  step.beta1 = static_cast<float>(beta1);
  step.one_minus_beta1 = static_cast<float>(1.0 - beta1);
  step.beta2 = static_cast<float>(beta2);
  step.one_minus_beta2 = static_cast<float>(1.0 - beta2);
  step.step_size = static_cast<float>(lr / (1.0 - std::pow(beta1, updates)));
  step.inverse_sqrt_bias2 = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(beta2, updates)));
  step.one_minus_ema = static_cast<float>(1.0 - ema);
  return step;
}

void adam_atan2_update(Stream stream, const AdamAtan2Step& step, std::span<float> w, std::span<const float> g,
                       std::span<float> m, std::span<float> v, std::span<float> e) {
  ensure(stream.device == DeviceType::cpu, "adam_atan2_update is for host memory");
  HRM_DISPATCH(update(step, w, g, m, v, e));
}

template <class T>
void adam_atan2_segments(Stream stream, std::span<const AdamAtan2Segment> segments, std::span<float> w,
                         std::span<const float> g, std::span<float> m, std::span<float> v, std::span<float> e,
                         std::span<T> compute, const std::int32_t* accept) {
  HRM_CUDA_DISPATCH(stream, adam_atan2_segments<T>(stream, segments, w, g, m, v, e, compute, accept));
  if (accept != nullptr && *accept == 0) {
    return;
  }
  for (const AdamAtan2Segment& segment : segments) {
    const auto count = static_cast<std::size_t>(segment.count);
    const auto part = [&](auto all) {
      return all.empty() ? all : all.subspan(static_cast<std::size_t>(segment.first), count);
    };
    adam_atan2_update(stream, segment.step, part(w), g.subspan(static_cast<std::size_t>(segment.gradient_first), count),
                      part(m), part(v), part(e));
    if (!compute.empty()) {
      cast<T>(stream, part(w), part(compute));
    }
  }
}

template void adam_atan2_segments(Stream, std::span<const AdamAtan2Segment>, std::span<float>, std::span<const float>,
                                  std::span<float>, std::span<float>, std::span<float>, std::span<float>,
                                  const std::int32_t*);
template void adam_atan2_segments(Stream, std::span<const AdamAtan2Segment>, std::span<float>, std::span<const float>,
                                  std::span<float>, std::span<float>, std::span<float>, std::span<bf16>,
                                  const std::int32_t*);

}  // namespace hrm::kernels
#endif
