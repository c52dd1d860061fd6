#include "kernels/swiglu.hpp"

#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/swiglu_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

template <class T>
void gated_forward(Matrix<const T> x, Matrix<T> h) {
  for_rows(h.rows, h.cols, [&](std::int64_t row) {
    const T* gate = x.row(row);
    const T* up = gate + h.cols;
    for_lanes(h.cols, [&](std::int64_t i, auto count) {
      const FloatVec g = load(gate + i, count);
      store(hn::Mul(hn::Mul(g, sigmoid_of(g)), load(up + i, count)), h.row(row) + i, count);
    });
  });
}

/// silu'(g) = s + silu(g) (1 - s), s = sigmoid(g).
template <class T>
void gated_backward(Matrix<const T> x, Matrix<const T> dh, Matrix<T> dx, Matrix<T> h) {
  for_rows(h.rows, h.cols, [&](std::int64_t row) {
    const T* gate = x.row(row);
    const T* up = gate + h.cols;
    T* dgate = dx.row(row);
    T* dup = dgate + h.cols;
    for_lanes(h.cols, [&](std::int64_t i, auto count) {
      const FloatVec g = load(gate + i, count);
      const FloatVec p = load(up + i, count);
      const FloatVec upstream = load(dh.row(row) + i, count);
      const FloatVec s = sigmoid_of(g);
      const FloatVec silu = hn::Mul(g, s);
      const FloatVec slope = hn::MulAdd(silu, hn::Sub(constant(1.0F), s), s);
      store(hn::Mul(hn::Mul(upstream, p), slope), dgate + i, count);
      store(hn::Mul(upstream, silu), dup + i, count);
      store(hn::Mul(silu, p), h.row(row) + i, count);
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
void swiglu_forward(Stream stream, Matrix<const T> x, Matrix<T> h) {
  HRM_CUDA_DISPATCH(stream, swiglu_forward<T>(stream, x, h));
  HRM_DISPATCH(gated_forward<T>(x, h));
}

template <class T>
void swiglu_backward(Stream stream, Matrix<const T> x, Matrix<const T> dh, Matrix<T> dx, Matrix<T> h) {
  HRM_CUDA_DISPATCH(stream, swiglu_backward<T>(stream, x, dh, dx, h));
  HRM_DISPATCH(gated_backward<T>(x, dh, dx, h));
}

template void swiglu_forward(Stream, Matrix<const float>, Matrix<float>);
template void swiglu_forward(Stream, Matrix<const bf16>, Matrix<bf16>);
template void swiglu_backward(Stream, Matrix<const float>, Matrix<const float>, Matrix<float>, Matrix<float>);
template void swiglu_backward(Stream, Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>, Matrix<bf16>);

}  // namespace hrm::kernels
#endif
