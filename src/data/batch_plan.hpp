#pragma once
// Which samples each global batch holds. A pure function of corpus, sampling, seed, packs and pack_tokens: neither the
// number of ranks nor what happened before a restart matters (README "Bit-identity").
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/shared_array.hpp"
#include "config/run_config.hpp"
#include "data/epoch_order.hpp"
#include "data/multipack.hpp"

namespace hrm::data {

/// One global batch.
struct Batch {
  std::int64_t step = 0;                 ///< update number, from 1
  std::int64_t epoch = 0;                ///< from 0
  std::int64_t epoch_position = 0;       ///< samples of the epoch in earlier batches
  std::vector<std::uint32_t> samples;    ///< sample numbers, pack after pack in packing order (golden B.6)
  std::vector<std::int64_t> first;       ///< [packs + 1] where each pack begins in `samples`
  std::vector<std::int64_t> supervised;  ///< [packs] labels C_r (golden B.1, B.2)
  std::vector<std::int64_t> used;        ///< [packs] slots that are no padding
  std::int64_t supervised_total = 0;     ///< C_total; the loss divisor is C_total / packs
  std::int64_t used_total = 0;

  std::int64_t packs() const { return std::ssize(used); }
  std::span<const std::uint32_t> pack(std::int64_t p) const {
    const auto begin = static_cast<std::size_t>(first[static_cast<std::size_t>(p)]);
    const auto end = static_cast<std::size_t>(first[static_cast<std::size_t>(p) + 1]);
    return std::span(samples).subspan(begin, end - begin);
  }
};

/// Longer runs are refused: 400 MB a rank.
inline constexpr std::int64_t most_planned_steps = 100'000'000;

/// Memory per node: 4 bytes per sample of an epoch; per rank: 4 bytes per batch.
class BatchPlan {
 public:
  /// Collective over `node` (the ranks that share this node's memory). `table` and `node` outlive this. Plans lengths
  /// only: about 0.2 s per million samples of the epochs needed. InputError(bad_config) where a sample is longer than
  /// max_seq_len or pack_tokens, the length of the run is not given or above most_planned_steps, or an epoch fills no
  /// batch; stopped, on all ranks of the node, when one is asked to stop meanwhile.
  BatchPlan(comm::Communicator& node, const SampleTable& table, const config::TrainConfig& train,
            std::int64_t max_seq_len, std::span<const SamplingRule> rules);
  BatchPlan(const BatchPlan&) = delete;
  BatchPlan& operator=(const BatchPlan&) = delete;

  /// Planned total N (golden B.4, B.5): max_steps, else all batches of floor(epochs) epochs and
  /// floor(fraction * batches) of the one that is shown in part.
  std::int64_t steps() const { return steps_; }
  /// Batches that N takes of each epoch, in order.
  std::vector<std::int64_t> batches_by_epoch() const;
  std::int64_t packs() const { return train_.packs; }
  std::int64_t slots() const { return train_.pack_tokens; }

  /// Batch of update `step` in [1, N]. Any order; all ranks of the node ask for the same steps in the same order, for
  /// a step of another epoch than the last one's is collective (the epoch's order is made again).
  void batch(std::int64_t step, Batch& batch);

  /// Cursors of the strata at the beginning of an epoch, for the checkpoint. Any epoch: a run that is given a shorter
  /// plan may be beyond its end.
  std::vector<std::uint64_t> cursors(std::int64_t epoch) const { return order_.cursors(epoch); }
  const std::vector<StratumShare>& shares() const { return order_.shares(); }

 private:
  /// Batches of one epoch: where each begins in the epoch's order, and where the last ends.
  using Borders = std::vector<std::uint32_t>;

  void check_lengths(std::int64_t max_seq_len) const;
  void plan_epochs();
  Borders plan_epoch(std::int64_t epoch, std::int64_t most);
  void load_epoch(std::int64_t epoch);
  Multipack planner(std::int64_t packs, std::int64_t slots, bool drop_last) const;
  [[noreturn]] void refuse_epoch(std::int64_t epoch) const;
  std::string proposal() const;
  std::int64_t epoch_of(std::int64_t step) const;
  void count_pack(std::int64_t pack, Batch& batch) const;

  comm::Communicator& node_;
  const SampleTable& table_;
  config::TrainConfig train_;
  std::int64_t least_slots_;  ///< below which pack_tokens cannot be proposed
  EpochOrder order_;
  comm::SharedArray<std::uint32_t> samples_;  ///< (samples per epoch) order of loaded_epoch_
  std::int64_t loaded_epoch_ = -1;
  std::vector<Borders> borders_;          ///< [epochs]
  std::vector<std::int64_t> first_step_;  ///< [epochs + 1] batches of earlier epochs
  std::int64_t steps_ = 0;
  Multipack packer_;
  PackedPositions packed_;
};

}  // namespace hrm::data
