#include "infer/sampler.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/random.hpp"

namespace hrm::infer {
namespace {

std::int32_t most_likely(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace

/// Fills candidates_ with what top_k and top_p leave.
void Sampler::keep_likely(std::span<const float> logits) {
  const double largest = *std::ranges::max_element(logits);
  candidates_.clear();
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double weight = std::exp((static_cast<double>(logits[i]) - largest) / options_.temperature);
    candidates_.push_back({static_cast<std::int32_t>(i), weight});
  }
  std::ranges::stable_sort(candidates_, std::ranges::greater{}, &Candidate::weight);
  if (options_.top_k > 0 && options_.top_k < std::ssize(candidates_)) {
    candidates_.resize(static_cast<std::size_t>(options_.top_k));
  }
  double total = 0;
  for (const Candidate& candidate : candidates_) {
    total += candidate.weight;
  }
  double reached = 0;
  std::size_t kept = 0;
  while (kept < candidates_.size() && (kept == 0 || reached < options_.top_p * total)) {
    reached += candidates_[kept++].weight;
  }
  candidates_.resize(kept);
}

std::int32_t Sampler::pick(std::span<const float> logits, std::int64_t prompt, std::int64_t position) {
  ensure(!logits.empty(), "a token is picked from a vocabulary");
  if (greedy()) {
    return most_likely(logits);
  }
  keep_likely(logits);
  double total = 0;
  for (const Candidate& candidate : candidates_) {
    total += candidate.weight;
  }
  const RandomStream random(options_.seed, RandomPurpose::sampling, static_cast<std::uint32_t>(prompt));
  double left = total * random.uniform(static_cast<std::uint64_t>(position));
  for (const Candidate& candidate : candidates_) {
    left -= candidate.weight;
    if (left < 0) {
      return candidate.token;
    }
  }
  return candidates_.back().token;
}

}  // namespace hrm::infer
