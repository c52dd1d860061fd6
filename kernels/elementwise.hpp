#pragma once
// Element-by-element operations on states, gradients and flat arrays. No reduction except `block_square_sums`.
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// State injection (golden A.9): out = a + b, all (T, D), rounded once. out may be a or b.
template <class T>
void add(Stream, Matrix<const T> a, Matrix<const T> b, Matrix<T> out);

/// out = a + row, row (D) added to every row: injection of the constant zL_init.
template <class T>
void add_row(Stream, Matrix<const T> a, std::span<const T> row, Matrix<T> out);

/// Every row of out (T, D) = row (D).
template <class T>
void fill_rows(Stream, std::span<const T> row, Matrix<T> out);

template <class T>
void copy(Stream, Matrix<const T> from, Matrix<T> to);

/// out[i] = x[rows[i]] for i < rows.size(); rows of `out` beyond are zeroed (gather of supervised rows).
template <class T>
void gather_rows(Stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out);

/// out = 0, then out[rows[i]] = x[i]; the rows are distinct (gradient of gather_rows).
template <class T>
void scatter_rows(Stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out);

/// a += b, float32: one node of the gradient tree.
void tree_add(Stream, std::span<float> a, std::span<const float> b);

/// Most parts of sum_parts.
inline constexpr std::size_t most_parts = 16;

/// out = Σ parts in their order, or out + Σ parts when `accumulate`: summed in float32, rounded once. All are (T, D);
/// one to `most_parts` parts. The list itself is host memory and is not needed after the call.
template <class T>
void sum_parts(Stream, std::span<const Matrix<const T>> parts, Matrix<T> out, bool accumulate);

/// Round to nearest even (bf16) or copy (float).
template <class T>
void cast(Stream, std::span<const float> from, std::span<T> to);

/// sums[i] = Σ x² over block i of `block` elements (the last may be shorter), in double, in one fixed order
/// that is the same on every device.
void block_square_sums(Stream, std::span<const float> x, std::int64_t block, std::span<double> sums);

/// Sets memory to zero in parallel (first touch follows the threads that use it).
void zero(Stream, std::span<float> x);

/// In device memory. The functions above that are missing here are made of these.
namespace cuda {
template <class T>
void add(Stream, Matrix<const T> a, Matrix<const T> b, Matrix<T> out);
template <class T>
void copy(Stream, Matrix<const T> from, Matrix<T> to);
template <class T>
void gather_rows(Stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out);
template <class T>
void scatter_rows(Stream, Matrix<const T> x, std::span<const std::int32_t> rows, Matrix<T> out);
void tree_add(Stream, std::span<float> a, std::span<const float> b);
template <class T>
void sum_parts(Stream, std::span<const Matrix<const T>> parts, Matrix<T> out, bool accumulate);
template <class T>
void cast(Stream, std::span<const float> from, std::span<T> to);
void block_square_sums(Stream, std::span<const float> x, std::int64_t block, std::span<double> sums);
void zero(Stream, std::span<float> x);
}  // namespace cuda

}  // namespace hrm::kernels
