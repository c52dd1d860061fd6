#pragma once
// The lengths and strata of all samples of a corpus: all that planning needs.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hrm::data {

/// Columns owned by someone else who outlives the table.
struct SampleTable {
  std::span<const std::uint32_t> instruction_length;  ///< (samples) P >= 1
  std::span<const std::uint32_t> response_length;     ///< (samples) R >= 1
  std::span<const std::uint16_t> stratum;             ///< (samples) index into strata
  std::vector<std::string> strata;

  std::int64_t count() const { return std::ssize(instruction_length); }
  std::int64_t prefix(std::int64_t sample) const { return instruction_length[static_cast<std::size_t>(sample)]; }
  std::int64_t response(std::int64_t sample) const { return response_length[static_cast<std::size_t>(sample)]; }
  /// Slots of a sample: P + R - 1 (golden B.1).
  std::int64_t length(std::int64_t sample) const { return prefix(sample) + response(sample) - 1; }
};

/// Samples of each stratum.
std::vector<std::int64_t> rows_by_stratum(const SampleTable& table);

}  // namespace hrm::data
