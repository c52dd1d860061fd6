#pragma once
// The fixed binary tree over the packs of a global batch. Node [lo, hi) splits at lo + the largest power of two below
// hi - lo. A rank with packs [a, b) ends with one partial sum per maximal node inside [a, b): at most
// floor(log2 k) + 1 while it works. Sums are made in tree order wherever they are made, so the result has the same bits
// for any number of ranks.
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

/// Flat elements [first, last) owned by a rank when `flat_size` elements are shared in whole blocks (flat_block).
struct FlatRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t count() const { return last - first; }
};
FlatRange flat_share(std::int64_t flat_size, int rank, int ranks);

/// Gradient sums of one rank. Use per step: `start()`, then for each own pack in order: write the pack's gradient into
/// `current()` (zeroed) and call `pack_done()`; then `reduce(result)`.
class GradientTree {
 public:
  /// All buffers for a share of `packs` packs and a flat gradient of `flat_size` floats. `shared`: each rank keeps only
  /// its flat_share of the sum (zero = 1); otherwise every rank gets the whole sum.
  GradientTree(Communicator& group, std::int64_t packs, std::int64_t flat_size, bool shared);

  void start();
  std::span<float> current();
  void pack_done();
  /// Collective: `result` (own flat_share, or all of it when not shared) = the tree's root.
  /// Returns seconds spent waiting in communication.
  double reduce(std::span<float> result);

  PackRange share() const { return share_; }

 private:
  Communicator& group_;
  std::int64_t packs_;
  std::int64_t flat_size_;
  bool shared_;
  PackRange share_;
  // Filled in by the implementation: partial sums held, receive space for the owned part of other ranks' partials.
  struct Partial {
    PackRange node;
    int buffer;
  };
  std::vector<Partial> stack_;
  std::vector<Buffer<float>> buffers_;
  std::vector<int> free_;
  Buffer<float> received_;
};

}  // namespace hrm::comm
