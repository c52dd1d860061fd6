#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cuda_dispatch.hpp"
#include "kernels/draw.hpp"

namespace hrm::kernels {
namespace {

/// Writes the weights of a row; their scale is the largest logit's.
void weigh(const float* logits, double temperature, std::span<std::uint64_t> weights) {
  const auto n = static_cast<std::int64_t>(weights.size());
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; ++i) {
    largest = logits[i] > largest ? logits[i] : largest;
  }
  for (std::int64_t i = 0; i < n; ++i) {
    const double below = static_cast<double>(logits[i]) - static_cast<double>(largest);
    const double weight = logits[i] >= largest ? 1.0 : std::exp(below / temperature);
    weights[static_cast<std::size_t>(i)] =
        weight >= 0 ? static_cast<std::uint64_t>(std::ldexp(weight, draw_bits)) : 0;  // not where it is NaN
  }
}

/// Sum of measure(w) over the weights of at least `least`.
template <class Measure>
std::uint64_t sum_from(std::span<const std::uint64_t> weights, std::uint64_t least, const Measure& measure) {
  std::uint64_t sum = 0;
  for (const std::uint64_t weight : weights) {
    sum += weight >= least ? measure(weight) : 0;
  }
  return sum;
}

/// The largest bound for which the weights from it on still reach `wanted`, by its bits from the highest down.
template <class Measure>
std::uint64_t highest_bound(std::span<const std::uint64_t> weights, std::uint64_t wanted, const Measure& measure) {
  std::uint64_t bound = 0;
  for (int bit = draw_bits; bit >= 0; --bit) {
    const std::uint64_t higher = bound | std::uint64_t{1} << bit;
    bound = sum_from(weights, higher, measure) >= wanted ? higher : bound;
  }
  return bound;
}

std::int32_t draw(std::span<const std::uint64_t> weights, const DrawRule& rule, double number) {
  const auto one = [](std::uint64_t) { return std::uint64_t{1}; };
  const auto itself = [](std::uint64_t weight) { return weight; };
  std::uint64_t least = 1;
  if (rule.top_k > 0) {
    least = std::max(least, highest_bound(weights, static_cast<std::uint64_t>(rule.top_k), one));
  }
  std::uint64_t total = sum_from(weights, least, itself);
  if (rule.top_p < 1) {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(rule.top_p * static_cast<double>(total)));
    least =
        std::max(least, highest_bound(weights, std::clamp<std::uint64_t>(wanted, 1, std::max(total, least)), itself));
    total = sum_from(weights, least, itself);
  }
  const auto passed = static_cast<std::uint64_t>(number * static_cast<double>(total));
  std::uint64_t sum = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] >= least) {
      sum += weights[i];
      last = i;
      if (sum > passed) {
        break;
      }
    }
  }
  return static_cast<std::int32_t>(last);
}

}  // namespace

void draw_rows(Stream stream, Matrix<const float> logits, const DrawRule& rule, std::span<const double> numbers,
               std::span<std::uint64_t> weights, std::span<std::int32_t> tokens) {
  HRM_CUDA_DISPATCH(stream, draw_rows(stream, logits, rule, numbers, weights, tokens));
#pragma omp parallel for schedule(static)
  for (std::int64_t r = 0; r < logits.rows; ++r) {
    const auto row = static_cast<std::size_t>(r);
    const auto own =
        weights.subspan(row * static_cast<std::size_t>(logits.cols), static_cast<std::size_t>(logits.cols));
    weigh(logits.row(r), rule.temperature, own);
    tokens[row] = draw(own, rule, numbers[row]);
  }
}

}  // namespace hrm::kernels
