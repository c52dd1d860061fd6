#pragma once
// The layout of packed sequences (golden A.6) as files give it.
#include <cstdint>
#include <string>
#include <vector>

#include "validate/golden_file.hpp"
#include "validate/report.hpp"

namespace hrm::validate {

struct Sequences {
  std::vector<std::int32_t> cu_seqlens;   ///< (S + 1)
  std::vector<std::int32_t> prefix_lens;  ///< (S)
  std::int64_t longest = 0;
  std::int64_t total = 0;  ///< rows that are no padding
};

/// Reads cu_seqlens, prefix_lens and causal_lens of `group` for packs of `slots` rows and reports whether the last
/// agrees with the others. InputError(bad_data) for a layout that no pack can have.
Sequences read_sequences(const GoldenFile& file, const std::string& group, std::int64_t slots, Report& report);

}  // namespace hrm::validate
