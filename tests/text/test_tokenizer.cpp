#include <gtest/gtest.h>
#include <omp.h>

#include <string>
#include <vector>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "small_tokenizer.hpp"
#include "text/special_tokens.hpp"
#include "text/tokenizer.hpp"

namespace hrm::text {
namespace {

using test::pieces;
using test::train_small;

class SmallTokenizer : public testing::Test {
 protected:
  const Tokenizer tokenizer_ = train_small(
      {"the cat's hat", "the cat's hat", "a caf\u00e9", "a caf\u00e9", "12 12", "we'll we'll"}, 31 + 256 + 20);
};

TEST_F(SmallTokenizer, LearnedWordsBecomeOneToken) {
  EXPECT_EQ(pieces(tokenizer_, "the cat"), "the| cat");
}

TEST_F(SmallTokenizer, ContractionsAreCutOffTheirWord) {
  EXPECT_EQ(pieces(tokenizer_, "cat's we'll"), "c|at|'s| |we|'ll");
}

TEST_F(SmallTokenizer, DigitsStandAlone) {
  EXPECT_EQ(pieces(tokenizer_, "1212"), "1|2|1|2");
}

TEST_F(SmallTokenizer, DecomposedTextIsComposedFirst) {
  EXPECT_EQ(tokenizer_.encode("cafe\u0301", SpecialTokens::plain),
            tokenizer_.encode("caf\u00e9", SpecialTokens::plain));
  EXPECT_EQ(tokenizer_.decode(tokenizer_.encode("cafe\u0301", SpecialTokens::plain), false), "caf\u00e9");
}

TEST_F(SmallTokenizer, EveryTextComesBack) {
  const std::string text = "  two  blanks\t\n\n line \u4f60\u597d \U0001f600\x01 'S <|im_start|> ";

  EXPECT_EQ(tokenizer_.decode(tokenizer_.encode(text, SpecialTokens::plain), false), text);
  EXPECT_EQ(tokenizer_.decode(tokenizer_.encode(text, SpecialTokens::recognise), false), text);
}

TEST_F(SmallTokenizer, SpecialTokensAreRecognisedOnlyWhenAskedFor) {
  const std::uint32_t begin = roles(tokenizer_).begin;

  EXPECT_EQ(tokenizer_.encode("a<|im_start|>", SpecialTokens::recognise).back(), begin);
  for (const std::uint32_t id : tokenizer_.encode("a<|im_start|>", SpecialTokens::plain)) {
    EXPECT_GE(id, special_token_names.size());
  }
}

TEST_F(SmallTokenizer, DecodingCanLeaveSpecialTokensOut) {
  const auto ids = tokenizer_.encode("<|im_start|>the<|im_end|>", SpecialTokens::recognise);

  EXPECT_EQ(tokenizer_.decode(ids, false), "<|im_start|>the<|im_end|>");
  EXPECT_EQ(tokenizer_.decode(ids, true), "the");
}

TEST_F(SmallTokenizer, HalfACharacterDecodesToTheReplacementCharacter) {
  const auto ids = tokenizer_.encode("\u4f60", SpecialTokens::plain);
  ASSERT_EQ(ids.size(), 3u);

  EXPECT_EQ(tokenizer_.decode(std::span(ids).first(2), false), "\uFFFD");
}

TEST_F(SmallTokenizer, IdsOutsideTheVocabularyDecodeToNothing) {
  const std::vector<std::uint32_t> ids = {static_cast<std::uint32_t>(tokenizer_.vocab_size()), ~std::uint32_t{0}};

  EXPECT_EQ(tokenizer_.decode(ids, false), "");
}

TEST_F(SmallTokenizer, RolesHaveTheReleasedIds) {
  const SpecialRoles ids = roles(tokenizer_);

  EXPECT_EQ(ids.pad, 0u);
  EXPECT_EQ(ids.begin, 6u);
  EXPECT_EQ(ids.end_of_instruction, 7u);
  EXPECT_EQ(ids.direct, 8u);
  EXPECT_EQ(ids.cot, 9u);
  EXPECT_EQ(ids.end_of_answer, 11u);
  EXPECT_EQ(ids.noisy, 12u);
  EXPECT_EQ(ids.synth, 13u);
}

TEST_F(SmallTokenizer, DigestIsThatOfTheText) {
  EXPECT_EQ(tokenizer_.digest(), digest_text(tokenizer_.json()));
}

TEST_F(SmallTokenizer, InvalidUtf8IsRefused) {
  EXPECT_THROW(tokenizer_.encode("ab\xFF", SpecialTokens::plain), InputError);
}

TEST_F(SmallTokenizer, LongPiecesMergeLikeShortOnes) {
  const Tokenizer runs = train_small({"aaaa aaaa", "aaaa"}, 31 + 256 + 2);
  std::string expected;
  for (int i = 0; i < 250; ++i) {
    expected += expected.empty() ? "aaaa" : "|aaaa";
  }

  EXPECT_EQ(pieces(runs, std::string(1000, 'a')), expected);
}

TEST_F(SmallTokenizer, ThreadsAndCachesDoNotChangeIds) {
  const Tokenizer other = train_small({"the hat"}, 31 + 256 + 5);
  const std::string text = "the cat's hat the hat's cat";
  const auto ids = tokenizer_.encode(text, SpecialTokens::plain);
  const auto other_ids = other.encode(text, SpecialTokens::plain);
  int wrong = 0;
#pragma omp parallel for num_threads(4) reduction(+ : wrong)
  for (int i = 0; i < 200; ++i) {
    wrong +=
        tokenizer_.encode(text, SpecialTokens::plain) != ids || other.encode(text, SpecialTokens::plain) != other_ids;
  }

  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace hrm::text
