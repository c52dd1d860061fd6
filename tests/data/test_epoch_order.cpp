#include "data/epoch_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "sample_columns.hpp"

namespace hrm::data {
namespace {

std::vector<std::uint32_t> epoch(const EpochOrder& order, std::int64_t number) {
  std::vector<std::uint32_t> samples(static_cast<std::size_t>(order.size()));
  order.fill(number, samples);
  return samples;
}

std::map<std::uint32_t, int> counts(const std::vector<std::uint32_t>& samples) {
  std::map<std::uint32_t, int> counted;
  for (const std::uint32_t sample : samples) {
    ++counted[sample];
  }
  return counted;
}

EpochOrder make_order(const SampleTable& table, const std::string& rules, std::int64_t seed) {
  return {table, sampling_shares(parse_sampling(rules, "mix"), table.strata, rows_by_stratum(table)), seed};
}

TEST(EpochOrder, WithoutRulesIsAPermutationOfTheCorpus) {
  const auto columns = random_columns(1000, {"a", "b"});
  const auto table = columns.table();
  const EpochOrder order = make_order(table, "", 3);

  auto samples = epoch(order, 0);

  EXPECT_FALSE(std::is_sorted(samples.begin(), samples.end()));
  std::sort(samples.begin(), samples.end());
  EXPECT_EQ(std::adjacent_find(samples.begin(), samples.end()), samples.end());
  EXPECT_EQ(samples.size(), 1000U);
}

TEST(EpochOrder, DependsOnSeedAndEpochOnly) {
  const auto columns = random_columns(500, {"a", "b"});
  const auto table = columns.table();
  const EpochOrder order = make_order(table, "a 20 2", 3);

  EXPECT_EQ(epoch(order, 4), epoch(make_order(table, "a 20 2", 3), 4));
  EXPECT_NE(epoch(order, 4), epoch(order, 5));
  EXPECT_NE(epoch(order, 4), epoch(make_order(table, "a 20 2", 4), 4));
}

TEST(EpochOrder, CapAndRepeatHoldPerStratum) {
  const auto columns = random_columns(600, {"x1", "x2", "y", "z"});
  const auto table = columns.table();
  const EpochOrder order = make_order(table, "x 30 1\ny - 3", 0);

  std::vector<std::int64_t> shown(4);
  for (const auto& [sample, times] : counts(epoch(order, 0))) {
    const std::uint16_t stratum = columns.stratum[sample];
    shown[stratum] += times;
    EXPECT_EQ(times, stratum == 2 ? 3 : 1);
  }

  const auto rows = rows_by_stratum(table);
  EXPECT_EQ(shown, (std::vector<std::int64_t>{30, 30, 3 * rows[2], rows[3]}));
}

TEST(EpochOrder, CappedStrataAreExhaustedBeforeARowReturns) {
  SampleColumns columns;
  columns.strata = {"a"};
  for (int i = 0; i < 25; ++i) {
    columns.add(2, 2, 0);
  }
  const auto table = columns.table();
  const EpochOrder order = make_order(table, "a 10 1", 9);

  std::vector<std::uint32_t> drawn;
  for (int e = 0; e < 5; ++e) {
    const auto samples = epoch(order, e);
    drawn.insert(drawn.end(), samples.begin(), samples.end());
  }

  // Five epochs of 10 draw the 25 rows exactly twice; the first two epochs share no row.
  for (const auto& [sample, times] : counts(drawn)) {
    EXPECT_EQ(times, 2) << sample;
  }
  EXPECT_EQ(std::set<std::uint32_t>(drawn.begin(), drawn.begin() + 20).size(), 20U);
  EXPECT_EQ(order.cursors(3), std::vector<std::uint64_t>{30});
}

}  // namespace
}  // namespace hrm::data
