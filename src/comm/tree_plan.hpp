#pragma once
// How a flat array is summed over the fixed tree by ranks that hold contiguous shares of its leaves: recursive halving
// in tree order (Rabenseifner's reduce-scatter, with groups of any size). Node [lo, hi) is spread over the ranks that
// hold its packs; where two children meet, each element travels from the child whose ranks do not keep it to the rank
// that does. So the largest messages pass between neighbours, inside a node of the cluster, and each element crosses
// every level of the tree at most once.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/parameter.hpp"

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

/// Where node [first, last) of at least two packs splits: at the largest power of two below its size.
std::int64_t split_of(PackRange node);

/// Maximal tree nodes inside `share`, in order: what a rank can sum alone.
std::vector<PackRange> covering_nodes(std::int64_t packs, PackRange share);

/// One message, elements of the partial sum of a leaf (covering node) of this rank. Sent: those of `leaf`. Received:
/// leaf = other + what arrives.
struct TreeMessage {
  int peer = 0;
  int leaf = 0;
  int other = 0;
  FlatRange range;
};

/// Partial sum of leaf `into` += that of leaf `from`, both this rank's.
struct TreeAddition {
  int into = 0;
  int from = 0;
  FlatRange range;
};

/// What a rank does at one height of the tree: exchange, then add. Messages between a pair of ranks match in order.
struct TreeLevel {
  std::vector<TreeMessage> sends;
  std::vector<TreeMessage> receives;
  std::vector<TreeAddition> additions;

  std::int64_t received() const;
  std::int64_t sent() const;
};

/// Plans of one rank; what does not depend on the elements is worked out once.
class TreePlanner {
 public:
  TreePlanner(std::int64_t packs, int rank, int ranks);
  ~TreePlanner();
  TreePlanner(const TreePlanner&) = delete;
  TreePlanner& operator=(const TreePlanner&) = delete;

  /// Levels of the rank from the leaves up, as many on every rank. In the end its elements of `owned` (by rank;
  /// together they are what is summed) hold the root's sum, in the partial sum of its first leaf.
  std::vector<TreeLevel> plan(std::span<const FlatRange> owned);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hrm::comm
