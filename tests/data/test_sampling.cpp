#include "data/sampling.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"

namespace hrm::data {
namespace {

/// Message of the InputError(bad_config) that a text is refused with.
std::string refusal(const std::string& text) {
  try {
    parse_sampling(text, "mix.txt");
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return error.what();
  }
  return "";
}

TEST(Sampling, ReadsRulesWithCommentsAndBlanksInPrefixes) {
  const auto rules = parse_sampling("# mixture\n\nflan cot_\t-  2 # all\r\nsynth 20000 1", "mix.txt");

  ASSERT_EQ(rules.size(), 2U);
  EXPECT_EQ(rules[0].prefix, "flan cot_");
  EXPECT_EQ(rules[0].cap, SamplingRule::no_cap);
  EXPECT_EQ(rules[0].repeat, 2);
  EXPECT_EQ(rules[0].line, 3);
  EXPECT_EQ(rules[1].prefix, "synth");
  EXPECT_EQ(rules[1].cap, 20000);
}

TEST(Sampling, RefusalNamesFileAndLine) {
  EXPECT_TRUE(refusal("a - 1\nb 5").starts_with("mix.txt:2: "));
  EXPECT_TRUE(refusal("a many 1").starts_with("mix.txt:1: CAP is \"many\""));
  EXPECT_TRUE(refusal("\n\na 5 0").starts_with("mix.txt:3: REPEAT is \"0\""));
  EXPECT_TRUE(refusal("a -5 1").starts_with("mix.txt:1: CAP"));
  EXPECT_TRUE(refusal("a 5 1x").starts_with("mix.txt:1: REPEAT"));
}

TEST(Sampling, FirstMatchWinsAndTheRestComesWholeAndOnce) {
  const std::vector<std::string> strata{"flan/cot_a", "flan/b", "gsm8k", "other"};
  const std::vector<std::int64_t> rows{100, 200, 7, 40};
  const auto rules = parse_sampling("flan/cot_ - 1\nflan 50 1\ngsm8k 10 10\nflan/b - 9\n", "mix.txt");

  const auto shares = sampling_shares(rules, strata, rows);

  EXPECT_EQ(shares[0].shown(), 100);
  EXPECT_EQ(shares[1].shown(), 50);
  EXPECT_EQ(shares[2].drawn, 7);
  EXPECT_EQ(shares[2].shown(), 70);
  EXPECT_EQ(shares[3].shown(), 40);
}

TEST(Sampling, MissingFileIsMissingInput) {
  const auto group = comm::serial_communicator();
  try {
    read_sampling(*group, "/nonexistent/mix.txt");
    FAIL() << "a missing file was read";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::no_input);
  }
  EXPECT_EQ(read_sampling(*group, ""), "");
}

}  // namespace
}  // namespace hrm::data
