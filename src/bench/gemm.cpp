#include "bench/gemm.hpp"

#include <algorithm>
#include <vector>

#include "base/buffer.hpp"
#include "base/random.hpp"
#include "base/timer.hpp"
#include "kernels/elementwise.hpp"
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

/// The same in memory of the device.
template <class T>
Buffer<T> random_values(std::int64_t count, std::uint32_t substream, Device& device) {
  const Buffer<T> values = random_values<T>(count, substream);
  Buffer<T> sent(count, MemoryPart::workspace, device.memory());
  device.copy(device.compute(), sent.data(), values.data(), values.bytes());
  device.wait(device.compute());
  return sent;
}

/// Times work on compute() by the device's own clock.
class Stopwatch {
 public:
  explicit Stopwatch(Device& device) : device_(device), from_(device.make_event()), to_(device.make_event()) {}

  /// Seconds of `times` calls, one after the other.
  template <class Work>
  double run(std::int64_t times, const Work& work) {
    const Timer timer;
    device_.record(from_, device_.compute());
    for (std::int64_t i = 0; i < times; ++i) {
      work();
    }
    device_.record(to_, device_.compute());
    device_.wait(device_.compute());
    return device_.is_host() ? timer.seconds() : device_.seconds(from_, to_);
  }

 private:
  Device& device_;
  Event from_;
  Event to_;
};

/// Repetitions that are timed together. A device does them without a gap, so that neither its clock nor the host's
/// calls show.
template <class Work>
std::int64_t timed_together(const Device& device, Stopwatch& watch, const Work& work) {
  constexpr double long_enough = 0.005;
  constexpr std::int64_t most = 1024;
  std::int64_t times = 1;
  while (!device.is_host() && times < most && watch.run(times, work) < long_enough) {
    times *= 2;
  }
  return times;
}

/// Repeats `work`, which does `amount` FLOPs or bytes.
template <class Work>
Rate measure(Device& device, double amount, double seconds, const Work& work) {
  Stopwatch watch(device);
  watch.run(1, work);
  const std::int64_t together = timed_together(device, watch, work);
  std::vector<double> times;
  for (const Timer total; total.seconds() < seconds || times.size() < 3;) {
    times.push_back(watch.run(together, work) / static_cast<double>(together));
  }
  std::sort(times.begin(), times.end());
  return {std::ssize(times) * together, amount, amount / times[times.size() / 2], amount / times.front()};
}

template <class T>
Rate measure_as(Device& device, GemmKind kind, std::int64_t rows, std::int64_t out, std::int64_t in, double seconds) {
  const Stream stream = device.compute();
  kernels::LinearWeights<T> weights(out, in, true, device);
  const Buffer<float> master = random_values<float>(out * in, 1, device);
  weights.load(stream, master.span());
  Buffer<T> x_values = random_values<T>(rows * in, 2, device);
  Buffer<T> y_values = random_values<T>(rows * out, 3, device);
  Buffer<float> dw_values(out * in, MemoryPart::workspace, device.memory());
  const Matrix<T> x(x_values.data(), rows, in);
  const Matrix<T> y(y_values.data(), rows, out);
  const Matrix<float> dw(dw_values.data(), out, in);
  kernels::prepare_linear<T>(rows, out, in, true, device.type());

  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(out) * static_cast<double>(in);
  switch (kind) {
    case GemmKind::forward:
      return measure(device, flops, seconds, [&] { kernels::linear_forward<T>(stream, x, weights, y); });
    case GemmKind::backward_input:
      return measure(device, flops, seconds, [&] { kernels::linear_backward_input<T>(stream, y, weights, x); });
    case GemmKind::backward_weight:
      return measure(device, flops, seconds, [&] { kernels::linear_backward_weight<T>(stream, y, x, dw, true); });
  }
  return {};
}

}  // namespace

Rate measure_gemm(Precision precision, GemmKind kind, std::int64_t rows, std::int64_t out, std::int64_t in,
                  double seconds, Device& device) {
  return precision == Precision::bf16 ? measure_as<bf16>(device, kind, rows, out, in, seconds)
                                      : measure_as<float>(device, kind, rows, out, in, seconds);
}

Rate measure_copy(std::int64_t bytes, double seconds, Device& device) {
  constexpr std::int64_t row = 1024;
  const std::int64_t rows = bytes / (row * static_cast<std::int64_t>(sizeof(float)));
  const Buffer<float> from = random_values<float>(rows * row, 4, device);
  Buffer<float> to(rows * row, MemoryPart::workspace, device.memory());
  return measure(device, 2.0 * static_cast<double>(from.bytes()), seconds, [&] {
    kernels::copy<float>(device.compute(), {from.data(), rows, row}, Matrix<float>(to.data(), rows, row));
  });
}

}  // namespace hrm::bench
