#include "kernels/rmsnorm.hpp"

#include <cmath>

#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rmsnorm_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

/// Σ a b in one fixed order.
template <class T>
float dot(const T* a, const T* b, std::int64_t n) {
  FloatVec sum = zero_vector();
  for_lanes(n, [&](std::int64_t i, auto count) { sum = hn::MulAdd(load(a + i, count), load(b + i, count), sum); });
  return sum_of(sum);
}

template <class T>
void norm_forward(Matrix<const T> x, float eps, Matrix<T> y, std::span<float> rstd) {
  for_rows(x.rows, x.cols, [&](std::int64_t row) {
    const T* in = x.row(row);
    T* out = y.row(row);
    const float r = 1.0F / std::sqrt(dot(in, in, x.cols) / static_cast<float>(x.cols) + eps);
    for_lanes(x.cols,
              [&](std::int64_t i, auto count) { store(hn::Mul(load(in + i, count), constant(r)), out + i, count); });
    rstd[static_cast<std::size_t>(row)] = r;
  });
}

template <class T>
void norm_backward(Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy, Matrix<T> dx, bool accumulate) {
  for_rows(y.rows, y.cols, [&](std::int64_t row) {
    const T* value = y.row(row);
    const T* upstream = dy.row(row);
    T* out = dx.row(row);
    const FloatVec mean = constant(dot(value, upstream, y.cols) / static_cast<float>(y.cols));
    const FloatVec r = constant(rstd[static_cast<std::size_t>(row)]);
    for_lanes(y.cols, [&](std::int64_t i, auto count) {
      const FloatVec centred = hn::NegMulAdd(load(value + i, count), mean, load(upstream + i, count));
      const FloatVec old = accumulate ? load(out + i, count) : zero_vector();
      store(hn::MulAdd(r, centred, old), out + i, count);
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
void rmsnorm_forward(Stream stream, Matrix<const T> x, float eps, Matrix<T> y, std::span<float> rstd) {
  HRM_CUDA_DISPATCH(stream, rmsnorm_forward<T>(stream, x, eps, y, rstd));
  HRM_DISPATCH(norm_forward<T>(x, eps, y, rstd));
}

template <class T>
void rmsnorm_backward(Stream stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy, Matrix<T> dx,
                      bool accumulate) {
  HRM_CUDA_DISPATCH(stream, rmsnorm_backward<T>(stream, y, rstd, dy, dx, accumulate));
  HRM_DISPATCH(norm_backward<T>(y, rstd, dy, dx, accumulate));
}

template void rmsnorm_forward(Stream, Matrix<const float>, float, Matrix<float>, std::span<float>);
template void rmsnorm_forward(Stream, Matrix<const bf16>, float, Matrix<bf16>, std::span<float>);
template void rmsnorm_backward(Stream, Matrix<const float>, std::span<const float>, Matrix<const float>, Matrix<float>,
                               bool);
template void rmsnorm_backward(Stream, Matrix<const bf16>, std::span<const float>, Matrix<const bf16>, Matrix<bf16>,
                               bool);

}  // namespace hrm::kernels
#endif
