#pragma once
// Stratified sampling: how many rows of each stratum an epoch shows. A file of lines `PREFIX CAP|- REPEAT`.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.hpp"

namespace hrm::data {

/// Strata whose name begins with `prefix`: an epoch draws at most `cap` rows of each such stratum (all, if absent) and
/// shows every drawn row `repeat` times.
struct SamplingRule {
  static constexpr std::int64_t no_cap = -1;
  std::string prefix;
  std::int64_t cap = no_cap;
  std::int64_t repeat = 1;
  std::int64_t line = 0;  ///< in its file, for messages
};

/// The rules of `text`. `#` begins a comment; blank lines are skipped; a prefix may hold blanks. Anything else is
/// InputError(bad_config) naming FILE:LINE.
std::vector<SamplingRule> parse_sampling(std::string_view text, std::string_view file);

/// Text of a sampling file, "" for an empty path. Rank 0 reads, all receive; a missing file is InputError(no_input).
std::string read_sampling(comm::Communicator& group, const std::string& path);

/// What an epoch draws from one stratum; the same in every epoch.
struct StratumShare {
  std::int64_t rows = 0;    ///< samples of the stratum
  std::int64_t drawn = 0;   ///< different rows of one epoch, <= rows
  std::int64_t repeat = 1;  ///< times that each is shown

  std::int64_t shown() const { return drawn * repeat; }
};

/// The share of each stratum: the first rule whose prefix matches, else whole and once. A rule that is the first match
/// of no stratum is reported by a warning (log::warn).
std::vector<StratumShare> sampling_shares(std::span<const SamplingRule> rules, std::span<const std::string> strata,
                                          std::span<const std::int64_t> rows);

}  // namespace hrm::data
