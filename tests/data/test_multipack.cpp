#include "data/multipack.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/random.hpp"

namespace hrm::data {
namespace {

using Lists = std::vector<std::vector<std::int64_t>>;

/// [batch][pack] -> positions.
std::vector<Lists> lists(const std::vector<PackedPositions>& batches) {
  std::vector<Lists> all;
  for (const PackedPositions& batch : batches) {
    Lists packs;
    for (std::int64_t p = 0; p + 1 < std::ssize(batch.first); ++p) {
      packs.emplace_back(batch.pack(p).begin(), batch.pack(p).end());
    }
    all.push_back(packs);
  }
  return all;
}

std::vector<std::int64_t> random_lengths(std::int64_t count, std::int64_t longest) {
  const RandomStream random(11, RandomPurpose::demo);
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < count; ++i) {
    lengths.push_back(1 + static_cast<std::int64_t>(
                              random.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(longest))));
  }
  return lengths;
}

// The four cases below are those of the specification's vectors (C.6) that fit on a line.
TEST(Multipack, TailSmallerThanThePacksIsNotEmitted) {
  const std::vector<std::int64_t> lengths{9, 9, 9, 9, 9, 9, 9, 9, 4};
  const std::vector<Lists> expected{{{3}, {2}, {0}, {1}}, {{7}, {6}, {4}, {5}}};

  EXPECT_EQ(lists(plan_epoch(lengths, 10, 4, false)), expected);
}

TEST(Multipack, FewerSamplesThanPacksGiveNoBatch) {
  EXPECT_TRUE(plan_epoch(std::vector<std::int64_t>{5, 6, 7}, 20, 4, false).empty());
}

TEST(Multipack, OversizedSampleEndsTheEpochOfSeveralPacks) {
  const std::vector<std::int64_t> lengths{8, 8, 8, 8, 30, 8, 8, 8, 8, 8};
  const std::vector<Lists> expected{{{3, 0}, {2, 1}}};

  EXPECT_EQ(lists(plan_epoch(lengths, 16, 2, false)), expected);
}

TEST(Multipack, OversizedSampleIsABatchOfItsOwnInOnePack) {
  const std::vector<std::int64_t> lengths{30, 8, 8, 40, 8, 2};
  const std::vector<Lists> expected{{{0}}, {{2, 1}}, {{3}}, {{4, 5}}};

  EXPECT_EQ(lists(plan_epoch(lengths, 16, 1, false)), expected);
}

TEST(Multipack, DropLastLeavesOutTheBatchThatReachesTheEnd) {
  const std::vector<std::int64_t> lengths(8, 10);

  EXPECT_EQ(plan_epoch(lengths, 10, 4, false).size(), 2U);
  EXPECT_EQ(plan_epoch(lengths, 10, 4, true).size(), 1U);
}

TEST(Multipack, BatchesCoverThePrefixOnceAndFitTheirSlots) {
  const auto lengths = random_lengths(5000, 300);

  const auto batches = plan_epoch(lengths, 1024, 5, true);

  std::vector<std::int64_t> seen;
  for (const PackedPositions& batch : batches) {
    for (std::int64_t p = 0; p < 5; ++p) {
      const auto pack = batch.pack(p);
      std::int64_t used = 0;
      for (const std::int64_t position : pack) {
        used += lengths[static_cast<std::size_t>(position)];
      }
      EXPECT_LE(used, 1024);
      EXPECT_TRUE(std::is_sorted(pack.begin(), pack.end(), [&](std::int64_t a, std::int64_t b) {
        return lengths[static_cast<std::size_t>(a)] > lengths[static_cast<std::size_t>(b)];
      }));
      seen.insert(seen.end(), pack.begin(), pack.end());
    }
  }
  std::sort(seen.begin(), seen.end());
  std::vector<std::int64_t> expected(seen.size());
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(seen, expected);
  EXPECT_GT(std::accumulate(lengths.begin(), lengths.begin() + std::ssize(seen), std::int64_t{0}),
            std::ssize(batches) * 5 * 1024 * 95 / 100);
}

TEST(Multipack, AnyBatchCanBePlannedAlone) {
  const auto lengths = random_lengths(400, 90);
  const auto all = plan_epoch(lengths, 256, 3, true);
  ASSERT_GT(all.size(), 4U);
  const std::int64_t first = *std::min_element(all[3].positions.begin(), all[3].positions.end());
  Multipack fresh(256, 3, true, std::ssize(lengths),
                  [&](std::int64_t at) { return lengths[static_cast<std::size_t>(at)]; });

  PackedPositions batch;
  fresh.assign(first, fresh.take(first), batch);

  EXPECT_EQ(batch.positions, all[3].positions);
}

TEST(BinHeap, EqualBinsTakeTurnsAsInTheReference) {
  BinHeap heap(3);
  std::vector<std::int64_t> bins;
  for (int i = 0; i < 5; ++i) {
    bins.push_back(heap.add(2));
  }

  EXPECT_EQ(bins, (std::vector<std::int64_t>{0, 1, 2, 2, 0}));
}

}  // namespace
}  // namespace hrm::data
