#pragma once
// Rotary position embedding (golden A.5 step 2): channel j is paired with channel j + d/2.
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// cos and sin of p theta^(-2j/d) for p < positions, j < d/2: computed in double, stored float32, (positions, d/2).
struct RopeTable {
  RopeTable(std::int64_t positions, std::int64_t head_dim, double theta);
  std::int64_t positions;
  std::int64_t half;
  Buffer<float> cos;
  Buffer<float> sin;
};

/// Rotates x (T, heads * head_dim) in place; position_ids (T). Called for q and for k.
template <class T>
void rope_forward(Stream, const RopeTable& table, std::span<const std::int32_t> position_ids, Matrix<T> x);

/// Rotates the gradient by the negative angle, in place.
template <class T>
void rope_backward(Stream, const RopeTable& table, std::span<const std::int32_t> position_ids, Matrix<T> dx);

}  // namespace hrm::kernels
