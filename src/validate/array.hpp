#pragma once
// Reals of a golden file as kernel operands of type T, and results back as reals.
#include <span>
#include <vector>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/matrix.hpp"
#include "validate/golden_file.hpp"

namespace hrm::validate {

/// An owned (rows, cols) matrix of T.
template <class T>
class Array {
 public:
  Array(std::int64_t rows, std::int64_t cols) : storage_(rows * cols), rows_(rows), cols_(cols) {}
  /// Rounds each value to float32 and then to T.
  Array(const Reals& values, std::int64_t rows, std::int64_t cols) : Array(rows, cols) {
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      storage_[i] = from_float<T>(static_cast<float>(values[static_cast<std::size_t>(i)]));
    }
  }

  Matrix<T> matrix() { return {storage_.data(), rows_, cols_}; }
  Matrix<const T> matrix() const { return {storage_.data(), rows_, cols_}; }
  std::span<T> span() { return storage_.span(); }
  Reals values() const {
    Reals reals;
    reals.reserve(static_cast<std::size_t>(storage_.size()));
    for (const T& value : storage_.span()) {
      reals.push_back(static_cast<double>(to_float(value)));
    }
    return reals;
  }

 private:
  Buffer<T> storage_;
  std::int64_t rows_;
  std::int64_t cols_;
};

}  // namespace hrm::validate
