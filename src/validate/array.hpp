#pragma once
// Reals of a golden file as kernel operands of type T, and results back as reals.
#include <algorithm>
#include <span>
#include <vector>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/matrix.hpp"
#include "validate/golden_file.hpp"

namespace hrm::validate {

/// A copy of `values` in memory of the device, which a kernel may read when this returns.
template <class T>
Buffer<T> sent(std::span<const T> values, Device& device) {
  Buffer<T> copy(std::ssize(values), MemoryPart::workspace, device.memory());
  device.copy(device.compute(), copy.data(), values.data(), values.size_bytes());
  device.wait(device.compute());
  return copy;
}

/// A host copy of what kernels wrote.
template <class T>
std::vector<T> received(const Buffer<T>& values, Device& device) {
  std::vector<T> copy(static_cast<std::size_t>(values.size()));
  device.copy(device.compute(), copy.data(), values.data(), values.bytes());
  device.wait(device.compute());
  return copy;
}

/// An owned (rows, cols) matrix of T in memory of the device.
template <class T>
class Array {
 public:
  Array(std::int64_t rows, std::int64_t cols, Device& device)
      : device_(device), storage_(rows * cols, MemoryPart::workspace, device.memory()), rows_(rows), cols_(cols) {}
  /// Rounds each value to float32 and then to T.
  Array(const Reals& values, std::int64_t rows, std::int64_t cols, Device& device) : Array(rows, cols, device) {
    std::vector<T> rounded(static_cast<std::size_t>(rows * cols));
    std::transform(values.begin(), values.begin() + rows * cols, rounded.begin(),
                   [](double value) { return from_float<T>(static_cast<float>(value)); });
    storage_ = sent(std::span<const T>(rounded), device);
  }

  Matrix<T> matrix() { return {storage_.data(), rows_, cols_}; }
  Matrix<const T> matrix() const { return {storage_.data(), rows_, cols_}; }
  Reals values() const {
    Reals reals;
    reals.reserve(static_cast<std::size_t>(storage_.size()));
    for (const T& value : received(storage_, device_)) {
      reals.push_back(static_cast<double>(to_float(value)));
    }
    return reals;
  }

 private:
  Device& device_;
  Buffer<T> storage_;
  std::int64_t rows_;
  std::int64_t cols_;
};

}  // namespace hrm::validate
