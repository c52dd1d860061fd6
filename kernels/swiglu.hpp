#pragma once
// SwiGLU (golden A.7): h = silu(g) ⊙ p with [g | p] = x (rows, 2F), silu(g) = g sigmoid(g).
#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// h (rows, F) from x (rows, 2F).
template <class T>
void swiglu_forward(Stream, Matrix<const T> x, Matrix<T> h);

/// dx (rows, 2F) from dh (rows, F); h is recomputed into `h` (rows, F) for the weight gradient of `down`. dx may be x.
/// h may be dh.
template <class T>
void swiglu_backward(Stream, Matrix<const T> x, Matrix<const T> dh, Matrix<T> dx, Matrix<T> h);

/// In device memory.
namespace cuda {
template <class T>
void swiglu_forward(Stream, Matrix<const T> x, Matrix<T> h);
template <class T>
void swiglu_backward(Stream, Matrix<const T> x, Matrix<const T> dh, Matrix<T> dx, Matrix<T> h);
}  // namespace cuda

}  // namespace hrm::kernels
