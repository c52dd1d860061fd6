#pragma once
// Output gate of attention (golden A.5 step 4): y = sigmoid(gate) ⊙ a, element by element.
#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

template <class T>
void head_gate_forward(Stream, Matrix<const T> gate, Matrix<const T> a, Matrix<T> y);

/// dgate = dy ⊙ a s(1 - s), da = dy ⊙ s with s = sigmoid(gate); y is recomputed because the weight gradient of `o`
/// needs it and it is not kept. da may be dy.
template <class T>
void head_gate_backward(Stream, Matrix<const T> gate, Matrix<const T> a, Matrix<const T> dy, Matrix<T> dgate,
                        Matrix<T> da, Matrix<T> y);

/// In device memory.
namespace cuda {
template <class T>
void head_gate_forward(Stream, Matrix<const T> gate, Matrix<const T> a, Matrix<T> y);
template <class T>
void head_gate_backward(Stream, Matrix<const T> gate, Matrix<const T> a, Matrix<const T> dy, Matrix<T> dgate,
                        Matrix<T> da, Matrix<T> y);
}  // namespace cuda

}  // namespace hrm::kernels
