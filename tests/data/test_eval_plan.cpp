#include "data/eval_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.hpp"
#include "sample_columns.hpp"

namespace hrm::data {
namespace {

TEST(EvalPlan, TakesEverySampleOnceStratumAfterStratum) {
  const auto columns = random_columns(200, {"a", "b", "c"});
  const auto table = columns.table();

  const EvalPlan plan(table, 100);

  std::vector<std::uint32_t> seen;
  for (std::int64_t p = 0; p < plan.packs(); ++p) {
    std::int64_t used = 0;
    for (const std::uint32_t sample : plan.pack(p)) {
      used += table.length(sample);
      seen.push_back(sample);
    }
    EXPECT_GT(used, 0);
    EXPECT_LE(used, 100);
  }
  EXPECT_TRUE(std::ranges::is_sorted(seen, {}, [&](std::uint32_t s) { return std::pair(columns.stratum[s], s); }));
  EXPECT_EQ(seen.size(), 200U);
}

TEST(EvalPlan, RefusesASampleLongerThanAPack) {
  const auto columns = random_columns(200, {"a"});
  const auto table = columns.table();

  EXPECT_THROW(EvalPlan(table, 10), InputError);
}

}  // namespace
}  // namespace hrm::data
