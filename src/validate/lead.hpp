#pragma once
#include <cstdint>
#include <span>

namespace hrm::validate {

/// First largest entry of a row of logits and what it is above the next largest (0 in a row of one).
struct Lead {
  std::int64_t best = 0;
  double margin = 0;
};

template <class T>
Lead lead(std::span<const T> logits) {
  Lead found;
  bool has_second = false;
  double second = 0;
  for (std::size_t i = 1; i < logits.size(); ++i) {
    const auto value = static_cast<double>(logits[i]);
    const auto best = static_cast<double>(logits[static_cast<std::size_t>(found.best)]);
    const double lower = value > best ? best : value;
    found.best = value > best ? static_cast<std::int64_t>(i) : found.best;
    second = !has_second || lower > second ? lower : second;
    has_second = true;
  }
  if (has_second) {
    found.margin = static_cast<double>(logits[static_cast<std::size_t>(found.best)]) - second;
  }
  return found;
}

}  // namespace hrm::validate
