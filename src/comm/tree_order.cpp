// The shape of the tree and who owns what: integers only.
#include <algorithm>
#include <bit>

#include "base/error.hpp"
#include "base/parameter.hpp"
#include "comm/gradient_tree.hpp"

namespace hrm::comm {
namespace {

/// Where node [first, last) of at least two packs splits.
std::int64_t split_of(PackRange node) {
  return node.first + static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(node.count() - 1)));
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

std::vector<PackRange> covering_nodes(std::int64_t packs, PackRange share) {
  std::vector<PackRange> nodes;
  if (share.count() > 0) {
    cover({0, packs}, share, nodes);
  }
  return nodes;
}

bool are_siblings(std::int64_t packs, PackRange left, PackRange right) {
  if (left.last != right.first) {
    return false;
  }
  PackRange node{0, packs};
  while (node.count() > left.count() + right.count()) {
    const std::int64_t middle = split_of(node);
    node = left.first < middle ? PackRange{node.first, middle} : PackRange{middle, node.last};
  }
  return node.count() > 1 && node == PackRange{left.first, right.last} && split_of(node) == left.last;
}

FlatRange flat_share(std::int64_t flat_size, int rank, int ranks) {
  const std::int64_t blocks = (flat_size + flat_block - 1) / flat_block;
  const PackRange share = pack_share(blocks, rank, ranks);
  return {std::min(share.first * flat_block, flat_size), std::min(share.last * flat_block, flat_size)};
}

}  // namespace hrm::comm
