#pragma once
// RMS norms together with what stands before or after them in a stack call. Each equals, bit by bit on one device, the
// operations it replaces; fused, a state is read once.
#include <span>

#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// State injection and the first norm of a pre-norm stack: u = a + b rounded to T, y = u r and rstd = r as in
/// rmsnorm_forward. All (rows, D), rstd (rows). u may be a or b.
template <class T>
void add_rmsnorm_forward(Stream, Matrix<const T> a, Matrix<const T> b, float eps, Matrix<T> u, Matrix<T> y,
                         std::span<float> rstd);

/// The same with row (D) added to every row of a: injection of the constant zL_init.
template <class T>
void add_row_rmsnorm_forward(Stream, Matrix<const T> a, std::span<const T> row, float eps, Matrix<T> u, Matrix<T> y,
                             std::span<float> rstd);

/// Most matrices of one list of rmsnorm_backward_merge.
inline constexpr std::size_t most_merged = 3;

/// The last operation of a stack call's backward pass: dx (+)= r (dy - y mean_j(dy_j y_j)) as in rmsnorm_backward, then
/// s += dx for every s of `add_to` and c = dx for every c of `copy_to`, from dx as it was rounded. All (rows, D) and
/// apart from each other, at most `most_merged` a list; only dx may be dy.
template <class T>
void rmsnorm_backward_merge(Stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy, Matrix<T> dx,
                            bool accumulate, std::span<const Matrix<T>> add_to, std::span<const Matrix<T>> copy_to);

/// In device memory; the lists themselves are host memory and are not needed after the call.
namespace cuda {
template <class T>
void add_rmsnorm_forward(Stream, Matrix<const T> a, Matrix<const T> b, float eps, Matrix<T> u, Matrix<T> y,
                         std::span<float> rstd);
template <class T>
void rmsnorm_backward_merge(Stream, Matrix<const T> y, std::span<const float> rstd, Matrix<const T> dy, Matrix<T> dx,
                            bool accumulate, std::span<const Matrix<T>> add_to, std::span<const Matrix<T>> copy_to);
}  // namespace cuda

}  // namespace hrm::kernels
