#pragma once
// The next token from its logits: the most likely one, or drawn.
#include <cstdint>
#include <span>
#include <vector>

namespace hrm::infer {

struct SamplingOptions {
  double temperature = 0;  ///< 0: always the most likely token (the lowest id on a tie)
  std::int64_t top_k = 0;  ///< draw among the k most likely; 0: among all
  double top_p = 1;        ///< draw among the fewest most likely whose probabilities reach p
  std::uint64_t seed = 0;
};

class Sampler {
 public:
  explicit Sampler(const SamplingOptions& options) : options_(options) {}

  /// Whether pick() always gives the most likely token.
  bool greedy() const { return options_.temperature <= 0; }

  /// Token for position `position` of the answer to prompt number `prompt`: a pure function of the logits, the options
  /// and these two numbers. `logits` (vocabulary, without padding).
  std::int32_t pick(std::span<const float> logits, std::int64_t prompt, std::int64_t position);

 private:
  struct Candidate {
    std::int32_t token;
    double weight;  ///< exp((logit - largest) / temperature)
  };
  void keep_likely(std::span<const float> logits);

  SamplingOptions options_;
  std::vector<Candidate> candidates_;  // most likely first
};

}  // namespace hrm::infer
