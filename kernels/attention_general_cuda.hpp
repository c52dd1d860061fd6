#pragma once
// Attention without tensor cores: any type, head size and stride, float32 throughout. Same contract as attention.hpp.
#include "kernels/attention.hpp"

namespace hrm::kernels::cuda::attention {

/// Rows of padding are left alone.
template <class T>
void general_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                     Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse);

/// row_sums are given; rows of padding are left alone.
template <class T>
void general_backward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                      Matrix<const T> k, Matrix<const T> v, Matrix<const T> dout, std::span<const float> lse,
                      std::span<const float> row_sums, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv);

}  // namespace hrm::kernels::cuda::attention
