#include "comm/gradient_tree.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/parameter.hpp"
#include "base/random.hpp"

namespace hrm::comm {
namespace {

using Values = std::vector<float>;

/// Gradient of one pack: magnitudes over several decades, so that every other order of additions changes bits.
Values pack_gradient(std::int64_t pack, std::int64_t size) {
  const RandomStream random(7, RandomPurpose::demo, static_cast<std::uint32_t>(pack));
  Values values(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(random.normal(2 * i) * std::exp(3 * random.normal(2 * i + 1)));
  }
  return values;
}

/// The definition, by recursion.
Values tree_sum(PackRange node, std::int64_t size) {
  if (node.count() == 1) {
    return pack_gradient(node.first, size);
  }
  const auto half = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(node.count() - 1)));
  Values left = tree_sum({node.first, node.first + half}, size);
  const Values right = tree_sum({node.first + half, node.last}, size);
  for (std::size_t i = 0; i < left.size(); ++i) {
    left[i] += right[i];
  }
  return left;
}

void add_into(Values& left, const Values& right) {
  for (std::size_t i = 0; i < left.size(); ++i) {
    left[i] += right[i];
  }
}

/// What `ranks` ranks compute together, one after the other in this process.
Values sum_over_ranks(std::int64_t packs, int ranks, std::int64_t size) {
  std::vector<Values> values;
  for (std::int64_t pack = 0; pack < packs; ++pack) {
    values.push_back(pack_gradient(pack, size));
  }
  const auto add = [&](int left, int right) {
    add_into(values[static_cast<std::size_t>(left)], values[static_cast<std::size_t>(right)]);
  };
  TreeSum across(packs);
  for (int rank = 0; rank < ranks; ++rank) {
    const PackRange share = pack_share(packs, rank, ranks);
    TreeSum local(packs);
    for (std::int64_t pack = share.first; pack < share.last; ++pack) {
      local.push({{pack, pack + 1}, static_cast<int>(pack)}, add);
    }
    for (const TreeSum::Partial& partial : local.held()) {
      across.push(partial, add);
    }
  }
  EXPECT_EQ(across.held().size(), 1U);
  return values[static_cast<std::size_t>(across.held().front().slot)];
}

TEST(PackShare, FirstRanksHaveOneMore) {
  EXPECT_EQ(pack_share(7, 0, 3), (PackRange{0, 3}));
  EXPECT_EQ(pack_share(7, 1, 3), (PackRange{3, 5}));
  EXPECT_EQ(pack_share(7, 2, 3), (PackRange{5, 7}));
}

TEST(FlatShare, IsWholeBlocksAndMayBeEmpty) {
  const std::int64_t size = 2 * flat_block + 64;

  EXPECT_EQ(flat_share(size, 0, 4), (FlatRange{0, flat_block}));
  EXPECT_EQ(flat_share(size, 1, 4), (FlatRange{flat_block, 2 * flat_block}));
  EXPECT_EQ(flat_share(size, 2, 4), (FlatRange{2 * flat_block, size}));
  EXPECT_EQ(flat_share(size, 3, 4), (FlatRange{size, size}));
}

TEST(CoveringNodes, AreTheMaximalNodesOfAShare) {
  const std::vector<PackRange> expected{{3, 4}, {4, 6}, {6, 7}};

  EXPECT_EQ(covering_nodes(7, {3, 7}), (std::vector<PackRange>{{3, 4}, {4, 7}}));
  EXPECT_EQ(covering_nodes(8, {3, 7}), expected);
  EXPECT_TRUE(covering_nodes(8, {3, 3}).empty());
}

TEST(Siblings, OnlyChildrenOfOneNodeMeet) {
  EXPECT_TRUE(are_siblings(6, {0, 4}, {4, 6}));
  EXPECT_TRUE(are_siblings(6, {4, 5}, {5, 6}));
  EXPECT_FALSE(are_siblings(6, {1, 2}, {2, 3}));
  EXPECT_FALSE(are_siblings(6, {0, 2}, {4, 6}));
}

TEST(GradientTree, SumsInTreeOrderOnOneRank) {
  const auto group = serial_communicator();
  const std::int64_t size = 200;
  for (std::int64_t packs = 1; packs <= 13; ++packs) {
    GradientTree tree(*group, packs, size, false);
    Values result(static_cast<std::size_t>(size));

    for (std::int64_t pack = 0; pack < packs; ++pack) {
      const std::span<float> current = tree.current();
      const Values gradient = pack_gradient(pack, size);
      std::copy(gradient.begin(), gradient.end(), current.begin());
      tree.pack_done();
    }
    tree.reduce(result);

    EXPECT_EQ(result, tree_sum({0, packs}, size)) << packs << " packs";
  }
}

TEST(GradientTree, OrderDoesNotDependOnTheNumberOfRanks) {
  const std::int64_t size = 50;
  for (std::int64_t packs = 1; packs <= 13; ++packs) {
    const Values expected = tree_sum({0, packs}, size);
    for (int ranks = 1; ranks <= packs; ++ranks) {
      EXPECT_EQ(sum_over_ranks(packs, ranks, size), expected) << packs << " packs on " << ranks << " ranks";
    }
  }
}

TEST(GradientTree, CurrentIsZeroForEveryPackAndStep) {
  const auto group = serial_communicator();
  GradientTree tree(*group, 3, 100, true);
  Values result(100);
  for (int step = 0; step < 2; ++step) {
    tree.start();
    for (int pack = 0; pack < 3; ++pack) {
      tree.current()[99] += 1;
      tree.pack_done();
    }
    tree.reduce(result);

    EXPECT_EQ(result[99], 3.0F);
    EXPECT_EQ(result[98], 0.0F);
  }
}

TEST(GradientTree, HoldsLogarithmicallyManyPartials) {
  for (std::int64_t packs = 1; packs <= 300; ++packs) {
    for (int ranks = 1; ranks <= packs; ++ranks) {
      for (const int rank : {0, ranks / 2, ranks - 1}) {
        const PackRange share = pack_share(packs, rank, ranks);
        const auto nodes_deep = std::bit_width(static_cast<std::uint64_t>(share.count()));
        const bool one_node = covering_nodes(packs, share).size() == 1;
        ASSERT_LE(GradientTree::partials(packs, share), one_node ? nodes_deep : 2 * nodes_deep)
            << packs << " " << ranks << " " << rank;
      }
    }
  }
}

TEST(GradientTree, StatedBytesAreTheAllocatedOnes) {
  const auto group = serial_communicator();
  const std::size_t before = memory_bytes(MemoryPart::tree);

  const GradientTree tree(*group, 6, 1000, true);

  EXPECT_EQ(memory_bytes(MemoryPart::tree) - before, static_cast<std::size_t>(GradientTree::bytes(6, 1000, 0, 1)));
}

TEST(GradientTree, ReceiveSpaceDoesNotGrowWithTheGradient) {
  const std::int64_t limit = 64 * flat_block;
  const std::int64_t partials = GradientTree::partials(16, {0, 4});
  for (const std::int64_t size : {std::int64_t{1} << 24, std::int64_t{1} << 28}) {
    const std::int64_t received = GradientTree::bytes(16, size, 0, 4, limit) - partials * size * 4;

    EXPECT_GT(received, 0);
    EXPECT_LE(received, 2 * limit * 4);
  }
}

}  // namespace
}  // namespace hrm::comm
