#pragma once
// The fixed binary tree over the packs of a global batch. Node [lo, hi) splits at lo + the largest power of two below
// hi - lo. A rank with packs [a, b) ends with one partial sum per maximal node inside [a, b). Sums are made in tree
// order wherever they are made, so the result has the same bits for any number of ranks.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {

/// Packs [first, last) of a batch.
struct PackRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t count() const { return last - first; }
  bool operator==(const PackRange&) const = default;
};

/// Contiguous share of rank `rank` of `ranks` in `packs`; the first packs % ranks ranks have one more.
PackRange pack_share(std::int64_t packs, int rank, int ranks);

/// Maximal tree nodes inside `share`, in order.
std::vector<PackRange> covering_nodes(std::int64_t packs, PackRange share);

/// Whether `left` and `right` are the two children of one node of the tree over `packs` packs.
bool are_siblings(std::int64_t packs, PackRange left, PackRange right);

/// Flat elements [first, last) owned by a rank when `flat_size` elements are shared in whole blocks (flat_block).
struct FlatRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t count() const { return last - first; }
  bool operator==(const FlatRange&) const = default;
};
FlatRange flat_share(std::int64_t flat_size, int rank, int ranks);

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

/// Gradient sums of one rank. Use per step: `start()`, then for each own pack in order: write the pack's gradient into
/// `current()` (zeroed) and call `pack_done()`; then `reduce(result)`.
///
/// Memory, charged to MemoryPart::tree: `partials(packs, share)` buffers of flat_size floats, the current one included
/// (floor(log2 k) + 1 for k packs that are one node, up to twice that for a share that begins and ends inside nodes),
/// and two receive spaces of max(receive_limit, 4096 * nodes of all ranks) floats at the most.
class GradientTree {
 public:
  /// Floats of one receive space: 32 MiB.
  static constexpr std::int64_t default_receive_limit = std::int64_t{1} << 23;

  /// All buffers for a share of `packs` packs and a flat gradient of `flat_size` floats. `shared`: each rank keeps only
  /// its flat_share of the sum (zero = 1); otherwise every rank gets the whole sum.
  GradientTree(Communicator& group, std::int64_t packs, std::int64_t flat_size, bool shared,
               std::int64_t receive_limit = default_receive_limit);

  void start();
  /// Gradient of the next own pack, (flat_size), zero when first asked for.
  std::span<float> current();
  void pack_done();
  /// Collective: `result` (own flat_share, or all of it when not shared) = the tree's root; all own packs are done.
  /// Returns seconds spent waiting in communication.
  double reduce(std::span<float> result);

  PackRange share() const { return share_; }
  /// Part of the flat gradient whose sum this rank makes.
  FlatRange own() const { return own_; }

  /// Gradient buffers that a rank with `share` needs while it works.
  static std::int64_t partials(std::int64_t packs, PackRange share);
  /// Bytes of all buffers of rank `rank` of `ranks`.
  static std::int64_t bytes(std::int64_t packs, std::int64_t flat_size, int rank, int ranks,
                            std::int64_t receive_limit = default_receive_limit);

 private:
  /// A maximal node of some rank: a leaf of the part of the tree that crosses ranks.
  struct Leaf {
    PackRange node;
    int rank;
    int place;  ///< own: index into local_.held(); others': index into the receive space
  };
  /// How the owned slices travel: rounds of `chunk` elements, `received` leaves of other ranks in each.
  struct Rounds {
    std::int64_t chunk = 0;
    std::int64_t count = 0;
    std::int64_t received = 0;
  };
  static Rounds plan_rounds(std::int64_t packs, std::int64_t flat_size, int rank, int ranks, std::int64_t limit);

  std::vector<Leaf> all_leaves() const;
  FlatRange chunk_of(int rank, std::int64_t round) const;
  void start_round(std::int64_t round);
  std::span<float> leaf_part(const Leaf& leaf, std::int64_t round);
  void sum_round(std::int64_t round, std::span<float> result);

  Communicator& group_;
  std::int64_t packs_;
  std::int64_t flat_size_;
  bool shared_;
  PackRange share_;
  FlatRange own_;
  Rounds rounds_;

  TreeSum local_;
  std::int64_t done_ = 0;
  int current_ = -1;                    ///< buffer of the pack being worked on, -1 before it is asked for
  std::vector<Buffer<float>> buffers_;  ///< each (flat_size)
  std::vector<int> free_;

  std::vector<Leaf> leaves_;
  TreeSum across_;
  Buffer<float> received_;                  ///< (2 rounds, other ranks' leaves, chunk)
  std::vector<std::int64_t> owners_first_;  ///< borders of all ranks' flat shares, (ranks + 1)
  std::vector<Send> sends_;
  std::vector<Receive> receives_;
};

}  // namespace hrm::comm
