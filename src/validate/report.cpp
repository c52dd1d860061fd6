#include "validate/report.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/output.hpp"

namespace hrm::validate {

Limits bf16_model_limits(std::int64_t roundings) {
  const double typical = bf16_unit * std::sqrt(static_cast<double>(roundings) / 3);
  return {6 * typical, 12 * typical};
}

void Report::reals(const std::string& quantity, std::span<const double> computed, std::span<const double> expected,
                   double limit, double scale) {
  ensure(computed.size() == expected.size(), "computed and expected have one shape");
  double difference = 0;
  double largest = 0;
  for (std::size_t i = 0; i < computed.size(); ++i) {
    const double here = std::abs(computed[i] - expected[i]);
    // NaN compares false with everything, so it must be asked for.
    difference = std::isfinite(here) ? std::max(difference, here) : std::numeric_limits<double>::infinity();
    if (std::isinf(difference)) {
      break;
    }
    largest = std::max(largest, std::abs(expected[i]));
  }
  const double unit = scale > 0 ? scale : largest;
  line(quantity, unit > 0 ? difference / unit : difference, tolerance_ > 0 ? tolerance_ : limit);
}

void Report::real(const std::string& quantity, double computed, double expected, double limit) {
  reals(quantity, {&computed, 1}, {&expected, 1}, limit);
}

void Report::counts(const std::string& quantity, std::span<const std::int64_t> computed,
                    std::span<const std::int64_t> expected) {
  double largest = computed.size() == expected.size() ? 0 : std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < std::min(computed.size(), expected.size()); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(computed[i]) - static_cast<double>(expected[i])));
  }
  line(quantity, largest, 0);
}

void Report::count(const std::string& quantity, std::int64_t computed, std::int64_t expected) {
  counts(quantity, {&computed, 1}, {&expected, 1});
}

void Report::line(const std::string& quantity, double error, double limit) {
  // Numbers that are not negative have the order of their bit patterns.
  auto bits = std::bit_cast<std::int64_t>(error);
  world_.max({&bits, 1});
  error = std::bit_cast<double>(bits);
  const bool passed = error <= limit;
  ++lines_;
  failures_ += passed ? 0 : 1;
  if (world_.rank() == 0) {
    output::print("{} {} {:.3e} {:.3e} {}\n", file_, quantity, error, limit, passed ? "PASS" : "FAIL");
  }
}

}  // namespace hrm::validate
