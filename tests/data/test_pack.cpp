#include "data/pack.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace hrm::data {
namespace {

using Ids = std::vector<std::int32_t>;

// P = 2, R = 3; P = 1, R = 1; P = 3, R = 1.
const Ids first_tokens{11, 12, 13, 14, 15};
const Ids second_tokens{21, 22};
const Ids third_tokens{31, 32, 33, 34};
const std::vector<SampleTokens> three{{first_tokens, 2}, {second_tokens, 1}, {third_tokens, 3}};

TEST(Pack, LaysSamplesOutOneAfterTheOther) {
  Pack pack(10);

  build_pack(three, Supervise::response, pack);

  EXPECT_EQ(pack.inputs, (Ids{11, 12, 13, 14, 21, 31, 32, 33, 0, 0}));
  EXPECT_EQ(pack.position_ids, (Ids{0, 1, 2, 3, 0, 0, 1, 2, 0, 0}));
  EXPECT_EQ(pack.cu_seqlens, (Ids{0, 4, 5, 8}));
  EXPECT_EQ(pack.prefix_lens, (Ids{2, 1, 3}));
  EXPECT_EQ(pack.causal_lens, (Ids{2, 0, 0}));
  EXPECT_EQ(pack.used, 8);
}

TEST(Pack, LastPrefixTokenPredictsTheFirstOfTheResponse) {
  Pack pack(10);

  build_pack(three, Supervise::response, pack);

  EXPECT_EQ(pack.labels, (Ids{-100, 13, 14, 15, 22, -100, -100, 34, -100, -100}));
  EXPECT_EQ(pack.supervised_rows, (Ids{1, 2, 3, 4, 7}));
  EXPECT_EQ(pack.supervised_labels, (Ids{13, 14, 15, 22, 34}));
  EXPECT_EQ(pack.supervised_sequence, (Ids{0, 0, 0, 1, 2}));
}

TEST(Pack, AllTargetsAreLabelsWhenAsked) {
  Pack pack(8);

  build_pack(three, Supervise::all, pack);

  EXPECT_EQ(pack.labels, (Ids{12, 13, 14, 15, 22, 32, 33, 34}));
}

TEST(Pack, IsBuiltAnewWithoutAllocation) {
  Pack pack(10);
  build_pack(three, Supervise::response, pack);
  const std::int32_t* rows = pack.supervised_rows.data();
  const std::int32_t* borders = pack.cu_seqlens.data();

  build_pack(std::span(three).first(1), Supervise::all, pack);

  EXPECT_EQ(pack.inputs, (Ids{11, 12, 13, 14, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(pack.sequences(), 1);
  EXPECT_EQ(pack.supervised_rows.data(), rows);
  EXPECT_EQ(pack.cu_seqlens.data(), borders);
}

TEST(Pack, RefusesMoreThanItsSlots) {
  Pack pack(7);

  EXPECT_THROW(build_pack(three, Supervise::response, pack), InternalError);
}

}  // namespace
}  // namespace hrm::data
