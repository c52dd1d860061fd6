#include "comm/tree_plan.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>

#include "base/error.hpp"
#include "base/round.hpp"

namespace hrm::comm {
namespace {

/// Borders between ranks fall on multiples of this many elements inside a node (a cache line).
constexpr std::int64_t grain = 16;

struct RankSpan {
  int first;
  int last;
  bool holds(int rank) const { return first <= rank && rank <= last; }
  int count() const { return last - first + 1; }
};

/// Elements that one rank holds.
struct Owned {
  FlatRange range;
  int rank = 0;
};

/// Who holds which elements of a node's sum.
using Distribution = std::vector<Owned>;

void append(Distribution& distribution, FlatRange range, int rank) {
  if (!distribution.empty() && distribution.back().rank == rank && distribution.back().range.last == range.first) {
    distribution.back().range.last = range.last;
  } else if (range.count() > 0) {
    distribution.push_back({range, rank});
  }
}

void append(std::vector<TreeMessage>& messages, const TreeMessage& message) {
  if (!messages.empty() && messages.back().peer == message.peer && messages.back().leaf == message.leaf &&
      messages.back().other == message.other && messages.back().range.last == message.range.first) {
    messages.back().range.last = message.range.last;
  } else {
    messages.push_back(message);
  }
}

std::int64_t elements(const std::vector<TreeMessage>& messages) {
  return std::accumulate(messages.begin(), messages.end(), std::int64_t{0},
                         [](std::int64_t sum, const TreeMessage& message) { return sum + message.range.count(); });
}

void cover(PackRange node, PackRange share, std::vector<PackRange>& nodes) {
  if (node.first >= share.last || node.last <= share.first) {
    return;
  }
  if (share.first <= node.first && node.last <= share.last) {
    nodes.push_back(node);
    return;
  }
  const std::int64_t middle = split_of(node);
  cover({node.first, middle}, share, nodes);
  cover({middle, node.last}, share, nodes);
}

}  // namespace

PackRange pack_share(std::int64_t packs, int rank, int ranks) {
  ensure(packs >= 0 && rank >= 0 && rank < ranks, "rank outside its group");
  const std::int64_t each = packs / ranks;
  const std::int64_t more = packs % ranks;
  const std::int64_t first = rank * each + std::min<std::int64_t>(rank, more);
  return {first, first + each + (rank < more ? 1 : 0)};
}

std::int64_t split_of(PackRange node) {
  return node.first + static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(node.count() - 1)));
}

std::vector<PackRange> covering_nodes(std::int64_t packs, PackRange share) {
  std::vector<PackRange> nodes;
  if (share.count() > 0) {
    cover({0, packs}, share, nodes);
  }
  return nodes;
}

std::int64_t TreeLevel::received() const {
  return elements(receives);
}
std::int64_t TreeLevel::sent() const {
  return elements(sends);
}

struct TreePlanner::State {
  State(std::int64_t packs, int rank, int ranks)
      : packs_(packs), rank_(rank), ranks_(ranks), leaves_(covering_nodes(packs, pack_share(packs, rank, ranks))) {
    survey({0, packs});
  }

  std::vector<TreeLevel> plan(const Distribution& owners) {
    levels_.assign(static_cast<std::size_t>(height({0, packs_})), {});
    visit({0, packs_}, owners);
    return std::move(levels_);
  }

 private:
  /// Rank that holds a pack: the inverse of pack_share.
  int holder(std::int64_t pack) const {
    const std::int64_t each = packs_ / ranks_;
    const std::int64_t more = packs_ % ranks_;
    const std::int64_t in_larger = more * (each + 1);
    return static_cast<int>(pack < in_larger ? pack / (each + 1) : more + (pack - in_larger) / each);
  }
  RankSpan holders(PackRange node) const { return {holder(node.first), holder(node.last - 1)}; }

  /// What is known of a node that several ranks hold.
  struct Node {
    int height = 0;  ///< levels below it that cross ranks, its own included
    /// Ranks at which its sum can lie for the fewest messages below it (Fitch's parsimony, Syst. Zool. 20:406): those
    /// that both children allow, else those of either.
    std::vector<int> cheapest;
  };

  /// Works out a node and all below it.
  const Node& survey(PackRange node) {
    Node& here = nodes_[{node.first, node.last}];
    if (holders(node).count() == 1) {
      here.cheapest = {holders(node).first};
      return here;
    }
    const Node& left = survey({node.first, split_of(node)});
    const Node& right = survey({split_of(node), node.last});
    here.height = 1 + std::max(left.height, right.height);
    std::set_intersection(left.cheapest.begin(), left.cheapest.end(), right.cheapest.begin(), right.cheapest.end(),
                          std::back_inserter(here.cheapest));
    if (here.cheapest.empty()) {
      std::set_union(left.cheapest.begin(), left.cheapest.end(), right.cheapest.begin(), right.cheapest.end(),
                     std::back_inserter(here.cheapest));
    }
    return here;
  }

  int height(PackRange node) const { return nodes_.at({node.first, node.last}).height; }
  const std::vector<int>& cheapest(PackRange node) const { return nodes_.at({node.first, node.last}).cheapest; }

  /// This rank's first leaf inside `node`: its sum of the node's elements gathers there.
  int first_leaf(PackRange node) const {
    const auto found =
        std::find_if(leaves_.begin(), leaves_.end(), [&](const PackRange& leaf) { return leaf.first >= node.first; });
    return static_cast<int>(found - leaves_.begin());
  }

  void visit(PackRange node, const Distribution& sum) {
    if (!holders(node).holds(rank_) || holders(node).count() == 1) {
      return;
    }
    TreeLevel& level = levels_[static_cast<std::size_t>(height(node) - 1)];
    const Side left = side({node.first, split_of(node)});
    const Side right = side({split_of(node), node.last});
    for (const Owned& part : sum) {
      if (part.rank == rank_ && keeps(left, right, rank_) && keeps(right, left, rank_)) {
        level.additions.push_back({first_leaf(left.node), first_leaf(right.node), part.range});
      }
    }
    visit(left.node, spread(level, node, left, right, sum));
    visit(right.node, spread(level, node, right, left, sum));
  }

  struct Side {
    PackRange node;
    const std::vector<int>& cheapest;
    bool cheap(int rank) const { return std::binary_search(cheapest.begin(), cheapest.end(), rank); }
  };
  Side side(PackRange node) const { return {node, cheapest(node)}; }

  /// Whether what ends up at `rank` lies there in `child` already.
  bool keeps(const Side& child, const Side& sibling, int rank) const {
    return child.cheap(rank) || (holders(child.node).holds(rank) && !sibling.cheap(rank));
  }

  /// Distribution of a child: what its end keeps stays, the rest is spread evenly over the child's cheapest ranks, who
  /// send it up.
  Distribution spread(TreeLevel& level, PackRange node, const Side& child, const Side& sibling,
                      Distribution sum) const {
    // By rank, so that a rank of the child serves as few ranks as it can.
    std::stable_sort(sum.begin(), sum.end(), [](const Owned& a, const Owned& b) { return a.rank < b.rank; });
    const auto moved = [&](std::int64_t total, const Owned& part) {
      return total + (keeps(child, sibling, part.rank) ? 0 : part.range.count());
    };
    const std::int64_t total = std::accumulate(sum.begin(), sum.end(), std::int64_t{0}, moved);
    const auto ranks = static_cast<std::int64_t>(child.cheapest.size());
    const std::int64_t each = std::max(grain, round_up((total + ranks - 1) / ranks, grain));
    Distribution below;
    std::int64_t position = 0;
    for (const Owned& part : sum) {
      if (keeps(child, sibling, part.rank)) {
        append(below, part.range, part.rank);
        continue;
      }
      for (std::int64_t first = part.range.first; first < part.range.last;) {
        const std::int64_t index = position / each;
        const std::int64_t count = std::min(part.range.last - first, (index + 1) * each - position);
        const int from = child.cheapest[static_cast<std::size_t>(index)];
        append(below, {first, first + count}, from);
        if (from == rank_) {
          append(level.sends, {part.rank, first_leaf(child.node), 0, {first, first + count}});
        } else if (part.rank == rank_) {
          append(level.receives, {from, first_leaf(node), first_leaf(sibling.node), {first, first + count}});
        }
        first += count;
        position += count;
      }
    }
    return below;
  }

  std::int64_t packs_;
  int rank_;
  int ranks_;
  std::vector<PackRange> leaves_;
  std::map<std::pair<std::int64_t, std::int64_t>, Node> nodes_;
  std::vector<TreeLevel> levels_;
};

TreePlanner::TreePlanner(std::int64_t packs, int rank, int ranks) {
  ensure(packs >= ranks, "every rank of a tree holds a pack");
  state_ = std::make_unique<State>(packs, rank, ranks);
}
TreePlanner::~TreePlanner() = default;

std::vector<TreeLevel> TreePlanner::plan(std::span<const FlatRange> owned) {
  Distribution root;
  for (std::size_t rank = 0; rank < owned.size(); ++rank) {
    append(root, owned[rank], static_cast<int>(rank));
  }
  return state_->plan(root);
}

}  // namespace hrm::comm
