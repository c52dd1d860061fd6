#pragma once
// RMS norm without gain (golden A.4): y = x r, r = 1 / sqrt(mean_j(x_j²) + eps), over the last dimension.
// Mean square and r in float32 whatever T is.
#include <span>

#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// y (rows, D) and rstd (rows) from x (rows, D). y may be x.
template <class T>
void rmsnorm_forward(Stream, Matrix<const T> x, float eps, Matrix<T> y, std::span<float> rstd);

/// dx (+)= r (dy - y mean_j(dy_j y_j)). `accumulate` adds to dx (the residual path's gradient). dx may be dy.
template <class T>
void rmsnorm_backward(Stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy, Matrix<T> dx,
                      bool accumulate);

/// In device memory.
namespace cuda {
template <class T>
void rmsnorm_forward(Stream, Matrix<const T> x, float eps, Matrix<T> y, std::span<float> rstd);
template <class T>
void rmsnorm_backward(Stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy, Matrix<T> dx,
                      bool accumulate);
}  // namespace cuda

}  // namespace hrm::kernels
