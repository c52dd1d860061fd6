#include "kernels/head_gate.hpp"

#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/head_gate_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void gate_forward(Matrix<const T> gate, Matrix<const T> a, Matrix<T> y) {
  for_rows(gate.rows, gate.cols, [&](std::int64_t row) {
    for_lanes(gate.cols, [&](std::int64_t i, auto count) {
      const FloatVec s = sigmoid_of(load(gate.row(row) + i, count));
      store(hn::Mul(s, load(a.row(row) + i, count)), y.row(row) + i, count);
    });
  });
}

template <class T>
void gate_backward(Matrix<const T> gate, Matrix<const T> a, Matrix<const T> dy, Matrix<T> dgate, Matrix<T> da,
                   Matrix<T> y) {
  for_rows(gate.rows, gate.cols, [&](std::int64_t row) {
    for_lanes(gate.cols, [&](std::int64_t i, auto count) {
      const FloatVec s = sigmoid_of(load(gate.row(row) + i, count));
      const FloatVec value = load(a.row(row) + i, count);
      const FloatVec upstream = load(dy.row(row) + i, count);
      const FloatVec slope = hn::NegMulAdd(s, s, s);
      store(hn::Mul(hn::Mul(upstream, value), slope), dgate.row(row) + i, count);
      store(hn::Mul(upstream, s), da.row(row) + i, count);
      store(hn::Mul(s, value), y.row(row) + i, count);
    });
  });
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

template <class T>
void head_gate_forward(Stream stream, Matrix<const T> gate, Matrix<const T> a, Matrix<T> y) {
  HRM_CUDA_DISPATCH(stream, head_gate_forward<T>(stream, gate, a, y));
  HRM_DISPATCH(gate_forward<T>(gate, a, y));
}

template <class T>
void head_gate_backward(Stream stream, Matrix<const T> gate, Matrix<const T> a, Matrix<const T> dy, Matrix<T> dgate,
                        Matrix<T> da, Matrix<T> y) {
  HRM_CUDA_DISPATCH(stream, head_gate_backward<T>(stream, gate, a, dy, dgate, da, y));
  HRM_DISPATCH(gate_backward<T>(gate, a, dy, dgate, da, y));
}

template void head_gate_forward(Stream, Matrix<const float>, Matrix<const float>, Matrix<float>);
template void head_gate_forward(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>);
template void head_gate_backward(Stream, Matrix<const float>, Matrix<const float>, Matrix<const float>, Matrix<float>,
                                 Matrix<float>, Matrix<float>);
template void head_gate_backward(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>,
                                 Matrix<bf16>, Matrix<bf16>);

}  // namespace hrm::kernels
#endif
