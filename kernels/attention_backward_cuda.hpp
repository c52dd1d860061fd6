#pragma once
// What the kernels of the backward pass take, and who makes which gradient. There are no atomic sums: dk and dv come
// from tiles of keys that walk over the queries that see them, dq from tiles of queries that walk over the keys they
// see. Scores and gradients of weights are made in both, seven products in place of five, for sums in one fixed order.
#include "kernels/attention_parts_cuda.hpp"

namespace hrm::kernels::cuda::attention {

/// lse and row_sums (heads, T).
template <class T>
struct Backward {
  const AttentionTile* tiles;
  int heads;
  float scale;       // of raw scores, to units of log 2
  float head_scale;  // 1 / sqrt(head)
  Matrix<const T> q;
  Matrix<const T> k;
  Matrix<const T> v;
  Matrix<const T> dout;
  const float* lse;
  const float* row_sums;
  Matrix<T> dq;
  Matrix<T> dk;
  Matrix<T> dv;
};

/// On tensor cores, from rows aligned to 16 bytes; false where the head size has no kernel. Rows of padding are left
/// alone, as by general_backward.
bool keys_backward(Stream stream, std::size_t tiles, const Backward<bf16>& args);
bool queries_backward(Stream stream, std::size_t tiles, const Backward<bf16>& args);

/// Any type, head size and stride.
template <class T>
void general_backward(Stream stream, std::size_t tiles, const Backward<T>& args);

}  // namespace hrm::kernels::cuda::attention
