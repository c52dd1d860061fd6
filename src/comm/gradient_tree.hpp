#pragma once
// Gradient sums over the packs of a global batch, in the order of a fixed binary tree: node [lo, hi) splits at lo + the
// largest power of two below hi - lo. A rank with packs [a, b) ends with one partial sum per maximal node inside
// [a, b); the nodes above are summed by exchanges (TreePlanner). So the result has the same bits for any number of
// ranks.
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/buffer.hpp"
#include "base/device.hpp"
#include "comm/communicator.hpp"
#include "comm/flat_shards.hpp"
#include "comm/tree_plan.hpp"

namespace hrm::comm {

/// Whether `left` and `right` are the two children of one node of the tree over `packs` packs.
bool are_siblings(std::int64_t packs, PackRange left, PackRange right);

/// Nodes of the tree that arrive from left to right; siblings are added as soon as both are there.
class TreeSum {
 public:
  struct Partial {
    PackRange node;
    int slot = 0;  ///< where the caller keeps the node's sum
  };

  explicit TreeSum(std::int64_t packs) : packs_(packs) {}

  void clear() { held_.clear(); }
  const std::vector<Partial>& held() const { return held_; }

  /// Takes the next node; calls add(left slot, right slot) for "left += right, right is free" as long as siblings meet.
  template <class Add>
  void push(Partial next, Add&& add) {
    held_.push_back(next);
    while (held_.size() > 1 && are_siblings(packs_, held_[held_.size() - 2].node, held_.back().node)) {
      const Partial right = held_.back();
      held_.pop_back();
      add(held_.back().slot, right.slot);
      held_.back().node.last = right.node.last;
    }
  }

 private:
  std::int64_t packs_;
  std::vector<Partial> held_;
};

/// How gradients are summed.
struct ReductionOptions {
  bool overlap = true;        ///< a bucket of the last pack is reduced as soon as it is final
  bool deterministic = true;  ///< tree order; false: packs of a rank in a row, ranks as the library likes
  /// Floats that are exchanged at a time: 32 MiB, which bounds the receive space.
  std::int64_t unit = std::int64_t{1} << 23;
};

/// Gradient sums of one rank. Use per step: `start()`, then for each own pack in order: write the pack's gradient into
/// `current()` (zeroed), call `finished(bucket)` for each bucket that has one, on every rank in the same order, as soon
/// as it is final, and `pack_done()`; then `reduce()`.
///
/// Memory: `partials(packs, share)` buffers of flat_size floats (floor(log2 k) + 1 for k packs that are one node, up to
/// twice that for a share that begins and ends inside nodes), one charged to MemoryPart::gradients, the others and a
/// receive space of about one unit to MemoryPart::tree. On a device gradients and sums lie in its memory, gradients are
/// written on its stream compute(), and `group` exchanges them behind what its stream exchange() holds.
class GradientTree {
 public:
  /// All buffers for the share of `group`'s rank in `packs`; `owners` says where the sums end.
  GradientTree(Communicator& group, std::int64_t packs, const FlatShards& owners, const ReductionOptions& options,
               Device& device = host_device());

  void start();
  /// Gradient of the next own pack, (flat_size), zero when first asked for.
  std::span<float> current();
  void finished(int bucket);
  /// Drives reductions under way; call it between operations.
  void poll() { progress(); }
  void pack_done();
  /// Collective: ends all reductions; all own packs are done. What compute() gets from now on sees the sums. Returns
  /// the seconds this took.
  double reduce();
  /// Passed by the device when the sums of the last reduce() are there.
  Event reduced() const { return reduced_; }
  /// (flat_size): valid after reduce() in the own shares of `owners`, zero in buckets that were never finished; until
  /// the next start().
  std::span<float> result();

  PackRange share() const { return share_; }

  /// Gradient buffers that a rank with `share` needs while it works.
  static std::int64_t partials(std::int64_t packs, PackRange share);
  /// Bytes of all buffers of rank `rank`.
  static std::int64_t bytes(std::int64_t packs, std::span<const Bucket> buckets, int rank, int ranks,
                            const ReductionOptions& options);

 private:
  /// Part of a bucket that travels at a time: some elements of every owner's share.
  using Unit = std::vector<TreeLevel>;
  struct Units {
    std::vector<std::vector<Unit>> by_bucket;
    std::vector<std::int64_t> space;  ///< floats received at most, by level
  };
  static Units plan_units(std::int64_t packs, const FlatShards& owners, int rank, std::int64_t unit);

  bool last_pack() const { return done_ + 1 == share_.count(); }
  std::span<float> part(int slot, FlatRange range);
  std::span<float> leaf(int index, FlatRange range);
  void progress();
  bool can_start() const;
  void start_round();
  void add_received();
  void add_level(const TreeLevel& level, std::int64_t space);
  template <class Use>
  void for_each_level(Use&& use);

  /// A unit on its way, and the bucket that it is part of.
  struct Queued {
    const Unit* unit;
    int bucket;
  };

  Communicator& group_;
  std::int64_t packs_;
  FlatShards owners_;
  ReductionOptions options_;
  Device& device_;
  PackRange share_;

  TreeSum local_;
  std::int64_t done_ = 0;
  int current_ = -1;                         ///< buffer of the pack being worked on, -1 before it is asked for
  std::vector<std::pair<int, int>> merges_;  ///< additions that the current pack completes
  std::vector<Buffer<float>> buffers_;       ///< each (flat_size)
  std::vector<int> free_;

  // The exchange runs in rounds, the same on every rank: round q takes unit q - l of the queue over level l, for every
  // level, so that units follow each other up the tree.
  Units units_;
  std::vector<std::int64_t> space_first_;  ///< by level: its part of the receive space
  Buffer<float> received_;
  std::vector<Queued> queue_;
  std::vector<Event> final_;  ///< by bucket: the last pack's gradient is
  Event reduced_;
  std::vector<int> bucket_queue_;  ///< not deterministic: buckets, one a round
  bool closed_ = false;            ///< no unit will follow
  bool under_way_ = false;         ///< the exchange of round round_
  std::int64_t round_ = 0;
  std::vector<Send> sends_;
  std::vector<Receive> receives_;
  std::vector<std::int64_t> borders_;  ///< not deterministic: of the bucket under way
};

}  // namespace hrm::comm
