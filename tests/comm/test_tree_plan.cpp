#include "comm/tree_plan.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "comm/flat_shards.hpp"

namespace hrm::comm {
namespace {

using Values = std::vector<float>;

/// Magnitudes over several decades, so that every other order of additions changes bits.
float gradient(std::int64_t pack, std::int64_t i) {
  const RandomStream random(7, RandomPurpose::demo, static_cast<std::uint32_t>(pack));
  const auto at = static_cast<std::uint64_t>(2 * i);
  return static_cast<float>(random.normal(at) * std::exp(3 * random.normal(at + 1)));
}

/// The definition, by recursion.
Values tree_sum(PackRange node, std::int64_t size) {
  Values sum(static_cast<std::size_t>(size));
  if (node.count() == 1) {
    for (std::int64_t i = 0; i < size; ++i) {
      sum[static_cast<std::size_t>(i)] = gradient(node.first, i);
    }
    return sum;
  }
  const auto half = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(node.count() - 1)));
  const Values left = tree_sum({node.first, node.first + half}, size);
  const Values right = tree_sum({node.first + half, node.last}, size);
  for (std::size_t i = 0; i < sum.size(); ++i) {
    sum[i] = left[i] + right[i];
  }
  return sum;
}

/// Elements of `size` in contiguous parts that differ in length, one per rank, the first one empty where there are
/// many.
std::vector<FlatRange> uneven_owners(std::int64_t size, int ranks) {
  std::vector<FlatRange> owners;
  std::int64_t first = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::int64_t last = rank + 1 == ranks ? size
                              : ranks > 4       ? size * rank / ranks
                                                : size * (2 * rank + 1) / (2 * ranks);
    owners.push_back({first, last});
    first = last;
  }
  return owners;
}

/// All ranks of one reduction in this process.
struct Machine {
  Machine(std::int64_t pack_count, int rank_count, const std::vector<FlatRange>& owners, std::int64_t size)
      : packs(pack_count), ranks(rank_count) {
    for (int rank = 0; rank < ranks; ++rank) {
      plans.push_back(TreePlanner(packs, rank, ranks).plan(owners));
      leaves.emplace_back();
      for (const PackRange node : covering_nodes(packs, pack_share(packs, rank, ranks))) {
        leaves.back().push_back(tree_sum(node, size));
      }
    }
  }

  /// Messages of one level leave before any is added; those between one pair match in order.
  void run_level(std::size_t level) {
    std::vector<std::vector<std::vector<Values>>> sent(static_cast<std::size_t>(ranks));
    for (int rank = 0; rank < ranks; ++rank) {
      auto& out = sent[static_cast<std::size_t>(rank)];
      out.resize(static_cast<std::size_t>(ranks));
      for (const TreeMessage& message : plan(rank)[level].sends) {
        const Values& leaf = leaves[static_cast<std::size_t>(rank)][static_cast<std::size_t>(message.leaf)];
        out[static_cast<std::size_t>(message.peer)].emplace_back(leaf.begin() + message.range.first,
                                                                 leaf.begin() + message.range.last);
      }
    }
    for (int rank = 0; rank < ranks; ++rank) {
      receive(rank, level, sent);
    }
  }

  void receive(int rank, std::size_t level, const std::vector<std::vector<std::vector<Values>>>& sent) {
    auto& mine = leaves[static_cast<std::size_t>(rank)];
    std::vector<std::size_t> taken(static_cast<std::size_t>(ranks));
    for (const TreeMessage& message : plan(rank)[level].receives) {
      const auto peer = static_cast<std::size_t>(message.peer);
      const auto& from = sent[peer][static_cast<std::size_t>(rank)];
      ASSERT_LT(taken[peer], from.size());
      const Values& data = from[taken[peer]++];
      ASSERT_EQ(static_cast<std::int64_t>(data.size()), message.range.count());
      for (std::int64_t i = message.range.first; i < message.range.last; ++i) {
        const auto at = static_cast<std::size_t>(i);
        mine[static_cast<std::size_t>(message.leaf)][at] =
            mine[static_cast<std::size_t>(message.other)][at] + data[static_cast<std::size_t>(i - message.range.first)];
      }
    }
    for (int peer = 0; peer < ranks; ++peer) {
      EXPECT_EQ(taken[static_cast<std::size_t>(peer)],
                sent[static_cast<std::size_t>(peer)][static_cast<std::size_t>(rank)].size());
    }
    for (const TreeAddition& addition : plan(rank)[level].additions) {
      for (std::int64_t i = addition.range.first; i < addition.range.last; ++i) {
        mine[static_cast<std::size_t>(addition.into)][static_cast<std::size_t>(i)] +=
            mine[static_cast<std::size_t>(addition.from)][static_cast<std::size_t>(i)];
      }
    }
  }

  const std::vector<TreeLevel>& plan(int rank) const { return plans[static_cast<std::size_t>(rank)]; }

  std::int64_t packs;
  int ranks;
  std::vector<std::vector<TreeLevel>> plans;
  std::vector<std::vector<Values>> leaves;  // (ranks, covering nodes)
};

TEST(TreePlan, EveryOwnerEndsWithTheTreesSum) {
  const std::int64_t size = 200;
  for (std::int64_t packs = 1; packs <= 17; ++packs) {
    const Values expected = tree_sum({0, packs}, size);
    for (int ranks = 1; ranks <= packs; ++ranks) {
      const std::vector<FlatRange> owners = uneven_owners(size, ranks);
      Machine machine(packs, ranks, owners, size);
      for (std::size_t level = 0; level < machine.plan(0).size(); ++level) {
        machine.run_level(level);
      }
      for (std::size_t rank = 0; rank < owners.size(); ++rank) {
        const Values& sum = machine.leaves[rank].front();
        for (std::int64_t i = owners[rank].first; i < owners[rank].last; ++i) {
          ASSERT_EQ(sum[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)])
              << packs << " packs on " << ranks << " ranks, element " << i;
        }
      }
    }
  }
}

std::vector<FlatRange> even_owners(std::int64_t size, int ranks) {
  std::vector<FlatRange> owners;
  for (int rank = 0; rank < ranks; ++rank) {
    owners.push_back({size * rank / ranks, size * (rank + 1) / ranks});
  }
  return owners;
}

/// Elements that all ranks send, over those of a reduce-scatter.
double traffic(std::int64_t packs, int ranks) {
  const std::int64_t size = std::int64_t{1} << 20;
  std::int64_t sent = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    for (const TreeLevel& level : TreePlanner(packs, rank, ranks).plan(even_owners(size, ranks))) {
      sent += level.sent();
    }
  }
  return static_cast<double>(sent) / (static_cast<double>(size) * (ranks - 1));
}

TEST(TreePlan, PowersOfTwoSendWhatAReduceScatterSends) {
  for (int ranks = 2; ranks <= 64; ranks *= 2) {
    EXPECT_NEAR(traffic(64, ranks), 1.0, 1e-4) << ranks;
  }
}

TEST(TreePlan, AwkwardSizesSendAboutTwiceAsMuch) {
  for (int ranks = 2; ranks <= 16; ++ranks) {
    EXPECT_LE(traffic(16, ranks), 2.1) << "16 packs on " << ranks;
    EXPECT_LE(traffic(12, std::min(ranks, 12)), 2.1) << "12 packs on " << ranks;
  }
  for (int ranks = 8; ranks <= 48; ++ranks) {
    EXPECT_LE(traffic(48, ranks), 2.1) << "48 packs on " << ranks;
  }
}

TEST(TreePlan, LargestMessagesPassBetweenNeighbours) {
  const std::vector<TreeLevel> levels = TreePlanner(16, 5, 16).plan(even_owners(1 << 16, 16));

  ASSERT_EQ(levels.size(), 4U);
  std::int64_t expected = 1 << 15;
  for (std::size_t level = 0; level < levels.size(); ++level, expected /= 2) {
    EXPECT_EQ(levels[level].sent(), expected);
    for (const TreeMessage& message : levels[level].sends) {
      EXPECT_EQ(message.peer, 5 ^ (1 << level));
    }
  }
}

std::vector<Bucket> buckets_of(std::initializer_list<std::int64_t> blocks) {
  std::vector<Bucket> buckets;
  std::int64_t first = 0;
  for (const std::int64_t count : blocks) {
    buckets.push_back({0, 0, {first, first + count * flat_block}});
    first = buckets.back().range.last;
  }
  return buckets;
}

TEST(FlatShards, CoverEveryBucketInRankOrder) {
  const std::vector<Bucket> buckets = buckets_of({5, 1, 8, 3});
  for (const int ranks : {1, 2, 3, 7}) {
    const FlatShards shards(buckets, 0, ranks);
    for (int bucket = 0; bucket < 4; ++bucket) {
      std::int64_t next = buckets[static_cast<std::size_t>(bucket)].range.first;
      for (int rank = 0; rank < ranks; ++rank) {
        EXPECT_EQ(shards.share(bucket, rank).first, next);
        next = shards.share(bucket, rank).last;
      }
      EXPECT_EQ(next, buckets[static_cast<std::size_t>(bucket)].range.last);
    }
  }
}

TEST(FlatShards, AreTheSameSizeWithinOneBlock) {
  const std::vector<Bucket> buckets = buckets_of({5, 1, 8, 3, 6, 2});
  for (const int ranks : {2, 3, 4, 7}) {
    std::int64_t least = 1 << 30;
    std::int64_t most = 0;
    for (int rank = 0; rank < ranks; ++rank) {
      const FlatShards shards(buckets, rank, ranks);
      least = std::min(least, shards.size());
      most = std::max(most, shards.size());
    }
    EXPECT_LE(most - least, flat_block) << ranks;
  }
}

}  // namespace
}  // namespace hrm::comm
