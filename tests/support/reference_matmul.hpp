#pragma once
// Naive float64 twin of kernels/matmul.hpp.
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/bf16.hpp"
#include "base/matrix.hpp"

namespace hrm::test {

/// An exact-enough product and, per element, the sum of absolute values of its terms, which scales rounding errors.
struct ReferenceProduct {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t terms = 0;
  std::vector<double> value;      // (rows, cols)
  std::vector<double> magnitude;  // (rows, cols)

  /// Bound of a float32 sum in unknown order: errors add like a random walk, 4 standard deviations and a few terms
  /// more.
  double tolerance(std::int64_t index) const {
    const double unit = std::ldexp(1.0, -24);
    return (4 * std::sqrt(static_cast<double>(terms)) + 8) * unit * magnitude[static_cast<std::size_t>(index)];
  }
};

/// value(i, j) = sum_p a(i, p) b(p, j) with accessors a and b that return double.
template <class A, class B>
ReferenceProduct reference_product(std::int64_t rows, std::int64_t cols, std::int64_t terms, const A& a, const B& b) {
  ReferenceProduct result{rows, cols, terms, {}, {}};
  result.value.assign(static_cast<std::size_t>(rows * cols), 0.0);
  result.magnitude = result.value;
  for (std::int64_t i = 0; i < rows; ++i) {
    double* value = result.value.data() + i * cols;
    double* magnitude = result.magnitude.data() + i * cols;
    for (std::int64_t p = 0; p < terms; ++p) {
      const double left = a(i, p);
      for (std::int64_t j = 0; j < cols; ++j) {
        const double term = left * b(p, j);
        value[j] += term;
        magnitude[j] += std::abs(term);
      }
    }
  }
  return result;
}

template <class T>
double element(Matrix<T> m, std::int64_t row, std::int64_t col) {
  return static_cast<double>(to_float(m.row(row)[col]));
}

/// x wᵀ with w (out, in).
template <class T>
ReferenceProduct reference_forward(Matrix<const T> x, Matrix<const T> w) {
  return reference_product(
      x.rows, w.rows, x.cols, [&](auto i, auto p) { return element(x, i, p); },
      [&](auto p, auto j) { return element(w, j, p); });
}

/// dy w with w (out, in).
template <class T>
ReferenceProduct reference_backward_input(Matrix<const T> dy, Matrix<const T> w) {
  return reference_product(
      dy.rows, w.cols, dy.cols, [&](auto i, auto p) { return element(dy, i, p); },
      [&](auto p, auto j) { return element(w, p, j); });
}

/// dyᵀ x.
template <class T>
ReferenceProduct reference_backward_weight(Matrix<const T> dy, Matrix<const T> x) {
  return reference_product(
      dy.cols, x.cols, dy.rows, [&](auto i, auto p) { return element(dy, p, i); },
      [&](auto p, auto j) { return element(x, p, j); });
}

}  // namespace hrm::test
