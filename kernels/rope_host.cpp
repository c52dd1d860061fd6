#include "kernels/rope.hpp"

#include <cmath>

#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

/// Rotates every pair (j, j + d/2) by its angle times `direction` (1 or -1).
template <class T>
void rotate_head(const float* cos, const float* sin, std::int64_t half, float direction, T* x) {
  for_lanes(half, [&](std::int64_t j, auto count) {
    const FloatVec c = load(cos + j, count);
    const FloatVec s = hn::Mul(load(sin + j, count), constant(direction));
    const FloatVec a = load(x + j, count);
    const FloatVec b = load(x + half + j, count);
    store(hn::NegMulAdd(b, s, hn::Mul(a, c)), x + j, count);
    store(hn::MulAdd(a, s, hn::Mul(b, c)), x + half + j, count);
  });
}

template <class T>
void rotate(RopeAngles angles, std::span<const std::int32_t> position_ids, float direction, Matrix<T> x) {
  for_rows(x.rows, x.cols, [&](std::int64_t row) {
    const std::int64_t angle = position_ids[static_cast<std::size_t>(row)] * angles.half;
    for (std::int64_t first = 0; first < x.cols; first += 2 * angles.half) {
      rotate_head(angles.cos + angle, angles.sin + angle, angles.half, direction, x.row(row) + first);
    }
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

namespace {

/// f(p theta^(-2j/d)) for every position p and channel j.
Buffer<float> table_of(std::int64_t positions, std::int64_t head_dim, double theta, double (*f)(double),
                       Device& device) {
  const std::int64_t half = head_dim / 2;
  Buffer<float> values(positions * half);
  for (std::int64_t p = 0; p < positions; ++p) {
    for (std::int64_t j = 0; j < half; ++j) {
      const double angle =
          static_cast<double>(p) * std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_dim));
      values[p * half + j] = static_cast<float>(f(angle));
    }
  }
  if (device.is_host()) {
    return values;
  }
  Buffer<float> sent(values.size(), MemoryPart::workspace, device.memory());
  device.copy(device.compute(), sent.data(), values.data(), values.bytes());
  device.wait(device.compute());
  return sent;
}

}  // namespace

RopeTable::RopeTable(std::int64_t n_positions, std::int64_t head_dim, double theta, Device& device)
    : positions(n_positions),
      half(head_dim / 2),
      cos(table_of(positions, head_dim, theta, std::cos, device)),
      sin(table_of(positions, head_dim, theta, std::sin, device)) {}

template <class T>
void rope_forward(Stream stream, RopeAngles angles, std::span<const std::int32_t> position_ids, Matrix<T> x) {
  HRM_CUDA_DISPATCH(stream, rope<T>(stream, angles, position_ids, 1.0F, x));
  HRM_DISPATCH(rotate<T>(angles, position_ids, 1.0F, x));
}

template <class T>
void rope_backward(Stream stream, RopeAngles angles, std::span<const std::int32_t> position_ids, Matrix<T> dx) {
  HRM_CUDA_DISPATCH(stream, rope<T>(stream, angles, position_ids, -1.0F, dx));
  HRM_DISPATCH(rotate<T>(angles, position_ids, -1.0F, dx));
}

template void rope_forward(Stream, RopeAngles, std::span<const std::int32_t>, Matrix<float>);
template void rope_forward(Stream, RopeAngles, std::span<const std::int32_t>, Matrix<bf16>);
template void rope_backward(Stream, RopeAngles, std::span<const std::int32_t>, Matrix<float>);
template void rope_backward(Stream, RopeAngles, std::span<const std::int32_t>, Matrix<bf16>);

}  // namespace hrm::kernels
#endif
