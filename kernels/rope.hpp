#pragma once
// Rotary position embedding (golden A.5 step 2): channel j is paired with channel j + d/2.
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// Views of cos and sin of a RopeTable.
struct RopeAngles {
  const float* cos = nullptr;  // (positions, half)
  const float* sin = nullptr;  // (positions, half)
  std::int64_t positions = 0;
  std::int64_t half = 0;
};

/// cos and sin of p theta^(-2j/d) for p < positions, j < d/2: computed in double, stored float32, (positions, d/2)
/// each, in memory of the device.
struct RopeTable {
  RopeTable(std::int64_t positions, std::int64_t head_dim, double theta, Device& device = host_device());
  std::int64_t positions;
  std::int64_t half;
  Buffer<float> cos;
  Buffer<float> sin;

  operator RopeAngles() const { return {cos.data(), sin.data(), positions, half}; }
};

/// Rotates x (T, heads * head_dim) in place; position_ids (T). Heads of q and k are alike:
/// one call may rotate both where they are neighbours.
template <class T>
void rope_forward(Stream, RopeAngles angles, std::span<const std::int32_t> position_ids, Matrix<T> x);

/// Rotates the gradient by the negative angle, in place.
template <class T>
void rope_backward(Stream, RopeAngles angles, std::span<const std::int32_t> position_ids, Matrix<T> dx);

/// In device memory: both directions, 1 and -1.
namespace cuda {
template <class T>
void rope(Stream, RopeAngles angles, std::span<const std::int32_t> position_ids, float direction, Matrix<T> x);
}  // namespace cuda

}  // namespace hrm::kernels
