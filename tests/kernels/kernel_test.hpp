#pragma once
// What the kernel tests share: numbers, storage, comparison, threads and instruction sets.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"
#include "base/random.hpp"
#include "kernels/simd_dispatch.hpp"

namespace hrm::test {

using Values = std::vector<double>;

/// Where the operations under test run: on the host, or as CUDA kernels over the shim of tests/simt, whose device
/// memory is host memory (test_kernels_simt), or on a GPU (test_kernels_gpu).
inline Stream test_stream() {
#ifdef HRM_TEST_CUDA
  return {DeviceType::cuda, nullptr};
#else
  return {};
#endif
}

/// A device whose memory the operations under test reach; they reach that of vectors too.
#ifdef HRM_TEST_GPU
Device& test_device();
#else
inline Device& test_device() {
  return host_device();
}
#endif

/// Standard normal numbers times `scale`.
inline Values normals(std::int64_t count, std::uint64_t seed, double scale = 1.0) {
  const RandomStream stream(seed, RandomPurpose::demo);
  Values values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = scale * stream.normal(i);
  }
  return values;
}

/// Gaps between rows for which 16-byte accesses are impossible and, where the columns allow it, possible.
inline constexpr std::int64_t row_gaps[] = {3, 8};

/// Row-major storage of T with `gap` elements between rows, which kernels must leave alone.
template <class T>
class Stored {
 public:
  Stored(std::int64_t rows, std::int64_t cols, std::int64_t gap = 3)
      : rows_(rows), cols_(cols), stride_(cols + gap), memory_(static_cast<std::size_t>(rows * (cols + gap)), mark()) {}
  Stored(const Values& values, std::int64_t cols, std::int64_t gap = 3)
      : Stored(static_cast<std::int64_t>(values.size()) / cols, cols, gap) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      at(static_cast<std::int64_t>(i)) = from_float<T>(static_cast<float>(values[i]));
    }
  }

  operator Matrix<T>() { return {memory_.data(), rows_, cols_, stride_}; }
  operator Matrix<const T>() const { return {memory_.data(), rows_, cols_, stride_}; }

  Values values() const {
    Values result(static_cast<std::size_t>(rows_ * cols_));
    for (std::size_t i = 0; i < result.size(); ++i) {
      const auto n = static_cast<std::int64_t>(i);
      result[i] = static_cast<double>(to_float(memory_[static_cast<std::size_t>(n / cols_ * stride_ + n % cols_)]));
    }
    return result;
  }

  bool gaps_untouched() const {
    for (std::int64_t i = 0; i < rows_ * stride_; ++i) {
      if (i % stride_ >= cols_ && to_float(memory_[static_cast<std::size_t>(i)]) != to_float(mark())) {
        return false;
      }
    }
    return true;
  }

  /// Exact contents, gaps included.
  std::vector<unsigned char> bytes() const {
    std::vector<unsigned char> result(memory_.size() * sizeof(T));
    std::memcpy(result.data(), memory_.data(), result.size());
    return result;
  }

 private:
  static T mark() { return from_float<T>(77.0F); }
  T& at(std::int64_t i) { return memory_[static_cast<std::size_t>(i / cols_ * stride_ + i % cols_)]; }

  std::int64_t rows_;
  std::int64_t cols_;
  std::int64_t stride_;
  std::vector<T> memory_;
};

/// Values as storage type T holds them.
template <class T>
Values rounded(Values values) {
  for (double& value : values) {
    value = static_cast<double>(to_float(from_float<T>(static_cast<float>(value))));
  }
  return values;
}

inline Values widened(std::span<const float> x) {
  return {x.begin(), x.end()};
}
inline std::vector<float> narrowed(const Values& x) {
  std::vector<float> result(x.size());
  std::transform(x.begin(), x.end(), result.begin(), [](double value) { return static_cast<float>(value); });
  return result;
}

/// max |difference| / max |expected|.
inline double error(const Values& expected, const Values& actual) {
  EXPECT_EQ(expected.size(), actual.size());
  double difference = 0;
  double largest = 1e-300;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double d = std::abs(expected[i] - actual[i]);
    difference = d <= difference || std::isnan(difference) ? difference : d;  // keeps NaN
    largest = std::max(largest, std::abs(expected[i]));
  }
  return difference / largest;
}

/// Bound of `error` where `steps` float32 roundings add up and the result is stored once as T: half a unit in the last
/// place of T (2^-8 for bf16, which has 8 significant bits) plus steps times that of float32 (2^-24).
template <class T>
double tolerance(double steps) {
  return (std::is_same_v<T, bf16> ? std::ldexp(1.0, -8) : 0.0) + steps * std::ldexp(1.0, -24);
}

/// Runs work once per instruction set that this processor has; once where CUDA kernels are tested.
template <class Work>
void on_each_target(const Work& work) {
  if (test_stream().device == DeviceType::cuda) {
    work();
    return;
  }
  const std::int64_t all = hwy::SupportedTargets();
  for (const std::int64_t left_out : {std::int64_t{0}, std::int64_t{HWY_AVX3}, std::int64_t{HWY_AVX3 | HWY_AVX2}}) {
    hwy::SetSupportedTargetsForTest(all & ~left_out);
    work();
  }
  hwy::SetSupportedTargetsForTest(0);
}

/// Whether work() returns equal bytes on 1, 3 and 8 host threads; from CUDA kernels, whether it does so every time.
template <class Work>
bool same_on_all_threads(const Work& work) {
  const int before = omp_get_max_threads();
  bool same = true;
  omp_set_num_threads(1);
  const auto expected = work();
  for (const int threads : {3, 8}) {
    omp_set_num_threads(threads);
    same = same && work() == expected;
  }
  omp_set_num_threads(before);
  return same;
}

/// max over a sample of elements of |central difference of f at x - gradient| / max |gradient|.
template <class F>
double finite_difference_error(const F& f, Values x, const Values& gradient, double step = 1e-5) {
  double worst = 0;
  double largest = 1e-300;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double kept = x[i];
    x[i] = kept + step;
    const double above = f(x);
    x[i] = kept - step;
    const double below = f(x);
    x[i] = kept;
    worst = std::max(worst, std::abs((above - below) / (2 * step) - gradient[i]));
    largest = std::max(largest, std::abs(gradient[i]));
  }
  return worst / largest;
}

/// Σ a b.
inline double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    sum += a[i] * b[i];
  }
  return sum;
}

}  // namespace hrm::test
