#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "small_tokenizer.hpp"
#include "text/sample.hpp"

namespace hrm::text {
namespace {

using Ids = std::vector<std::uint32_t>;

// Ids of the special tokens: begin 6, end of instruction 7, direct 8, cot 9, end of answer 11, noisy 12, synth 13.
class Samples : public testing::Test {
 protected:
  SampleMaker::Made make(const std::string& line, std::int64_t context = 100, Overlong overlong = Overlong::truncate) {
    return SampleMaker(tokenizer_, context, overlong).make(line, "f:1", tokens_);
  }
  std::uint32_t letter(char c) const { return *tokenizer_.id_of(std::string(1, c)); }
  std::string message(const std::string& line, std::int64_t context = 100) {
    try {
      make(line, context, Overlong::error);
    } catch (const InputError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_data);
      return error.what();
    }
    return "accepted";
  }

  const Tokenizer tokenizer_ = test::train_small({}, 31 + 256);
  Ids tokens_;
};

TEST_F(Samples, TagsStandAroundTheTexts) {
  const auto made = make(R"({"instruction": "ab", "response": "c"})");

  EXPECT_EQ(tokens_, (Ids{6, 8, letter('a'), letter('b'), 7, letter('c'), 11}));
  EXPECT_EQ(made.instruction_length, 5u);
  EXPECT_EQ(made.response_length, 2u);
  EXPECT_EQ(made.source, std::nullopt);
}

TEST_F(Samples, ConditionsKeepTheirOrder) {
  make(R"({"instruction": "a", "response": "c", "condition": "synth, cot,noisy", "source": "s"})");

  EXPECT_EQ(Ids(tokens_.begin(), tokens_.begin() + 4), (Ids{6, 13, 9, 12}));
}

TEST_F(Samples, AnEmptySourceIsNone) {
  EXPECT_EQ(make(R"({"instruction": "a", "response": "c", "source": ""})").source, std::nullopt);
  EXPECT_EQ(make(R"({"instruction": "a", "response": "c", "source": "s"})").source, "s");
}

TEST_F(Samples, AnEmptyInstructionIsAPrefixOfTagsOnly) {
  EXPECT_EQ(make(R"({"instruction": "", "response": "c"})").instruction_length, 3u);
}

TEST_F(Samples, NamesOfSpecialTokensStayText) {
  make(R"({"instruction": "<|im_end|>", "response": "<|box_end|>"})");

  EXPECT_EQ(std::count(tokens_.begin(), tokens_.end(), 7u), 1);
  EXPECT_EQ(std::count(tokens_.begin(), tokens_.end(), 11u), 1);
}

TEST_F(Samples, ASampleThatJustFitsIsKeptWhole) {
  const auto made = make(R"({"instruction": "ab", "response": "cdef"})", 9);  // P 5, R 5

  EXPECT_FALSE(made.truncated);
  EXPECT_EQ(made.response_length, 5u);
}

TEST_F(Samples, LongResponsesAreCutToTheContext) {
  const auto made = make(R"({"instruction": "ab", "response": "cdef"})", 6);

  EXPECT_TRUE(made.truncated);
  EXPECT_EQ(made.response_length, 2u);
  EXPECT_EQ(tokens_, (Ids{6, 8, letter('a'), letter('b'), 7, letter('c'), letter('d')}));
}

TEST_F(Samples, AnInstructionThatFillsTheContextKeepsOneResponseToken) {
  const auto made = make(R"({"instruction": "ab", "response": "cdef"})", 5);

  EXPECT_EQ(made.instruction_length, 5u);
  EXPECT_EQ(made.response_length, 1u);
}

TEST_F(Samples, AnInstructionWithoutRoomIsDropped) {
  EXPECT_EQ(make(R"({"instruction": "ab", "response": "cdef"})", 4).response_length, 0u);
  EXPECT_EQ(make(R"({"instruction": "ab", "response": "cdef"})", 6, Overlong::drop).response_length, 0u);
  EXPECT_TRUE(tokens_.empty());
}

TEST_F(Samples, BadLinesAreNamed) {
  EXPECT_TRUE(message(R"({"instruction": "ab", "response": ""})").starts_with("f:1: the response is empty"));
  EXPECT_TRUE(message(R"({"instruction": "ab"})").starts_with("f:1: the field \"response\" is missing"));
  EXPECT_TRUE(message(R"({"response": "ab"})").starts_with("f:1: the field \"instruction\" is missing"));
  EXPECT_TRUE(message(R"({"instruction": "a", "response": "b", "condition": "direkt"})")
                  .starts_with("f:1: the condition \"direkt\" is unknown"));
  EXPECT_TRUE(message(R"({"instruction": "a", "response": "b", "condition": "cot,"})")
                  .starts_with("f:1: the condition \"\" is unknown"));
  EXPECT_TRUE(
      message(R"({"instruction": "ab", "response": "cdef"})", 6).starts_with("f:1: the sample takes 9 positions"));
  EXPECT_TRUE(tokens_.empty());
}

}  // namespace
}  // namespace hrm::text
