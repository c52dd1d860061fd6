#pragma once
// How the next token comes from its logits: the most likely one, or drawn.
#include <cstdint>

#include "kernels/draw.hpp"

namespace hrm::infer {

struct SamplingOptions {
  double temperature = 0;  ///< 0: always the most likely token (the lowest id on a tie)
  std::int64_t top_k = 0;  ///< draw among the k most likely; 0: among all
  double top_p = 1;        ///< draw among the fewest most likely whose probabilities reach p
  std::uint64_t seed = 0;
};

/// Tokens of equal probability at the edge of top_k or top_p are kept together.
class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options) {}

  bool greedy() const { return options_.temperature <= 0; }
  kernels::DrawRule rule() const { return {options_.temperature, options_.top_k, options_.top_p}; }
  /// In [0, 1): what decides on position `position` of the answer to prompt number `prompt`, a pure function of the
  /// seed and these two numbers.
  double number(std::int64_t prompt, std::int64_t position) const;

 private:
  SamplingOptions options_;
};

}  // namespace hrm::infer
