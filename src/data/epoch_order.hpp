#pragma once
// Which samples an epoch shows, and in which order: a pure function of corpus, sampling rules, seed and epoch number.
//
// Each stratum has an endless sequence of its rows, one random permutation after the other. Epoch e takes the rows
// [e * drawn, (e + 1) * drawn) of it: without replacement until the stratum is exhausted, across epochs. So the
// cursors of a restart follow from the epoch number. All rows of an epoch are then permuted together.
#include <cstdint>
#include <span>
#include <vector>

#include "data/sample_table.hpp"
#include "data/sampling.hpp"

namespace hrm::data {

class EpochOrder {
 public:
  /// `table` outlives this. Corpora of 2^32 samples or more, and epochs as long, are InputError(bad_config).
  EpochOrder(const SampleTable& table, std::vector<StratumShare> shares, std::int64_t seed);

  /// Samples that every epoch shows.
  std::int64_t size() const { return size_; }
  const std::vector<StratumShare>& shares() const { return shares_; }

  /// order (size()) = sample numbers of epoch `epoch` (from 0). Takes 4 bytes per sample of capped strata for a while.
  void fill(std::int64_t epoch, std::span<std::uint32_t> order) const;

  /// Rows that each stratum's sequence has given before `epoch`: the cursors of a checkpoint.
  std::vector<std::uint64_t> cursors(std::int64_t epoch) const;

 private:
  void draw_capped(std::int64_t epoch, std::span<std::uint32_t> order) const;
  std::span<std::uint32_t> draw_stratum(std::int64_t epoch, std::size_t stratum, std::span<const std::uint32_t> rows,
                                        std::span<std::uint32_t> order) const;
  bool capped(std::size_t stratum) const { return shares_[stratum].drawn < shares_[stratum].rows; }

  const SampleTable& table_;
  std::vector<StratumShare> shares_;
  std::uint64_t seed_;
  std::int64_t size_ = 0;
};

}  // namespace hrm::data
