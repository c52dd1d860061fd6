#pragma once
// Held-out loss: every sample of a folder once, in packs, stratum after stratum.
#include <cstdint>
#include <span>
#include <vector>

#include "data/sample_table.hpp"

namespace hrm::data {

/// Samples ordered by (stratum, number), put into packs in that order; a pack is closed when the next sample does not
/// fit. The same for any number of ranks. A pack may hold several strata: losses go to `table.stratum[sample]` by
/// sequence.
class EvalPlan {
 public:
  /// InputError(bad_config) where a sample is longer than `slots`.
  EvalPlan(const SampleTable& table, std::int64_t slots);

  std::int64_t packs() const { return std::ssize(first_) - 1; }
  std::span<const std::uint32_t> samples() const { return samples_; }
  /// [packs + 1] where each pack begins in samples().
  std::span<const std::int64_t> first() const { return first_; }
  std::span<const std::uint32_t> pack(std::int64_t p) const;

 private:
  std::vector<std::uint32_t> samples_;
  std::vector<std::int64_t> first_;
};

}  // namespace hrm::data
