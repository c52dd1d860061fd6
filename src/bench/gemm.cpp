#include "bench/gemm.hpp"

#include <algorithm>
#include <vector>

#include "base/buffer.hpp"
#include "base/random.hpp"
#include "base/timer.hpp"
#include "kernels/matmul.hpp"

namespace hrm::bench {
namespace {

/// Uniform values in [-0.5, 0.5): zeros or equal values would let some processors run faster than real data does.
template <class T>
Buffer<T> random_values(std::int64_t count, std::uint32_t substream) {
  const RandomStream random(1, RandomPurpose::demo, substream);
  Buffer<T> values(count);
#pragma omp parallel for
  for (std::int64_t i = 0; i < count; ++i) {
    values[i] = from_float<T>(static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5));
  }
  return values;
}

GemmRate summarize(double flops, std::vector<double> times) {
  std::sort(times.begin(), times.end());
  return {static_cast<std::int64_t>(times.size()), flops, flops / times[times.size() / 2], flops / times.front()};
}

template <class Work>
GemmRate measure(double flops, double seconds, const Work& work) {
  work();
  std::vector<double> times;
  for (const Timer total; total.seconds() < seconds || times.size() < 3;) {
    const Timer one;
    work();
    times.push_back(one.seconds());
  }
  return summarize(flops, std::move(times));
}

template <class T>
GemmRate measure_as(GemmKind kind, std::int64_t rows, std::int64_t out, std::int64_t in, double seconds) {
  const Stream stream;
  kernels::LinearWeights<T> weights(out, in);
  weights.load(stream, random_values<float>(out * in, 1).span());
  Buffer<T> x_values = random_values<T>(rows * in, 2);
  Buffer<T> y_values = random_values<T>(rows * out, 3);
  Buffer<float> dw_values(out * in);
  const Matrix<T> x(x_values.data(), rows, in);
  const Matrix<T> y(y_values.data(), rows, out);
  const Matrix<float> dw(dw_values.data(), out, in);
  kernels::prepare_linear<T>(rows, out, in);

  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(out) * static_cast<double>(in);
  switch (kind) {
    case GemmKind::forward:
      return measure(flops, seconds, [&] { kernels::linear_forward<T>(stream, x, weights, y); });
    case GemmKind::backward_input:
      return measure(flops, seconds, [&] { kernels::linear_backward_input<T>(stream, y, weights, x); });
    case GemmKind::backward_weight:
      return measure(flops, seconds, [&] { kernels::linear_backward_weight<T>(stream, y, x, dw, true); });
  }
  return {};
}

}  // namespace

GemmRate measure_gemm(Precision precision, GemmKind kind, std::int64_t rows, std::int64_t out, std::int64_t in,
                      double seconds) {
  return precision == Precision::bf16 ? measure_as<bf16>(kind, rows, out, in, seconds)
                                      : measure_as<float>(kind, rows, out, in, seconds);
}

}  // namespace hrm::bench
