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

/// `size` flat elements as buckets of whole blocks.
std::vector<Bucket> buckets_of(std::initializer_list<std::int64_t> blocks) {
  std::vector<Bucket> buckets;
  std::int64_t first = 0;
  for (const std::int64_t count : blocks) {
    buckets.push_back({0, 0, {first, first + count * flat_block}});
    first += count * flat_block;
  }
  return buckets;
}

TEST(PackShare, FirstRanksHaveOneMore) {
  EXPECT_EQ(pack_share(7, 0, 3), (PackRange{0, 3}));
  EXPECT_EQ(pack_share(7, 1, 3), (PackRange{3, 5}));
  EXPECT_EQ(pack_share(7, 2, 3), (PackRange{5, 7}));
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
  const std::vector<Bucket> buckets = buckets_of({1, 2});
  const std::int64_t size = 3 * flat_block;
  for (std::int64_t packs = 1; packs <= 13; ++packs) {
    GradientTree tree(*group, packs, FlatShards(buckets, 0, 1), {});

    for (std::int64_t pack = 0; pack < packs; ++pack) {
      const std::span<float> current = tree.current();
      const Values gradient = pack_gradient(pack, size);
      std::copy(gradient.begin(), gradient.end(), current.begin());
      tree.finished(1);
      tree.finished(0);
      tree.pack_done();
    }
    tree.reduce();

    const std::span<float> result = tree.result();
    EXPECT_EQ(Values(result.begin(), result.end()), tree_sum({0, packs}, size)) << packs << " packs";
  }
}

TEST(GradientTree, CurrentIsZeroForEveryPackAndStepAndUnfinishedBucketsStayZero) {
  const auto group = serial_communicator();
  GradientTree tree(*group, 3, FlatShards(buckets_of({1, 1}), 0, 1), {});
  for (int step = 0; step < 2; ++step) {
    tree.start();
    for (int pack = 0; pack < 3; ++pack) {
      tree.current()[99] += 1;
      tree.finished(0);
      tree.pack_done();
    }
    tree.reduce();

    EXPECT_EQ(tree.result()[99], 3.0F);
    EXPECT_EQ(tree.result()[98], 0.0F);
    EXPECT_EQ(tree.result()[flat_block], 0.0F);
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
  const std::vector<Bucket> buckets = buckets_of({3, 40, 7});
  for (const bool deterministic : {true, false}) {
    for (const int ranks : {1, 3, 6}) {
      ReductionOptions options;
      options.deterministic = deterministic;
      options.unit = 16 * flat_block;
      const auto group = pretend_communicator(ranks / 2, ranks);
      const auto held = [] { return memory_bytes(MemoryPart::tree) + memory_bytes(MemoryPart::gradients); };
      const std::size_t before = held();

      const GradientTree tree(*group, 6, FlatShards(buckets, ranks / 2, ranks), options);

      EXPECT_EQ(held() - before, static_cast<std::size_t>(GradientTree::bytes(6, buckets, ranks / 2, ranks, options)));
    }
  }
}

TEST(GradientTree, ReceiveSpaceDoesNotGrowWithTheGradient) {
  ReductionOptions options;
  options.unit = 64 * flat_block;
  const std::int64_t partials = GradientTree::partials(16, {0, 4});
  for (const std::int64_t blocks : {4096, 65536}) {
    const std::vector<Bucket> buckets = buckets_of({blocks});
    const std::int64_t received = GradientTree::bytes(16, buckets, 0, 4, options) - partials * blocks * flat_block * 4;

    EXPECT_GT(received, 0);
    EXPECT_LE(received, options.unit * 4);
  }
}

}  // namespace
}  // namespace hrm::comm
