#pragma once
// Views of row-major matrices. Views own nothing; the shape stands beside each buffer's declaration.
#include <cstdint>
#include <type_traits>

namespace hrm {

/// Row-major view: element (r, c) at data[r * stride + c]; stride >= cols, in elements.
template <class T>
struct Matrix {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  constexpr Matrix() = default;
  constexpr Matrix(T* first, std::int64_t n_rows, std::int64_t n_cols) : Matrix(first, n_rows, n_cols, n_cols) {}
  constexpr Matrix(T* first, std::int64_t n_rows, std::int64_t n_cols, std::int64_t row_stride)
      : data(first), rows(n_rows), cols(n_cols), stride(row_stride) {}

  constexpr T* row(std::int64_t r) const { return data + r * stride; }
  /// Columns [first, first + count) of every row.
  constexpr Matrix columns(std::int64_t first, std::int64_t count) const { return {data + first, rows, count, stride}; }
  /// Rows [first, first + count).
  constexpr Matrix slice(std::int64_t first, std::int64_t count) const { return {row(first), count, cols, stride}; }

  constexpr operator Matrix<const T>() const requires(!std::is_const_v<T>) { return {data, rows, cols, stride}; }
};

}  // namespace hrm
