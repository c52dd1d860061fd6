#include "infer/scorer.hpp"

#include <gtest/gtest.h>

namespace hrm::infer {
namespace {

using Text = std::optional<std::string>;

bool correct(Metric metric, const std::string& reply, const std::string& answer, std::size_t choices = 0) {
  return judge(metric, reply, answer, choices).correct;
}

bool valid(Metric metric, const std::string& reply, std::size_t choices = 0) {
  return judge(metric, reply, "A", choices).valid;
}

TEST(Scorer, LetterIsTrimmedAndCapitalised) {
  EXPECT_TRUE(correct(Metric::letter, " b\n", "B", 4));
  EXPECT_FALSE(correct(Metric::letter, "A", "B", 4));
}

TEST(Scorer, RepliesThatAreNoChoiceAreInvalid) {
  EXPECT_TRUE(valid(Metric::letter, "D", 4));
  EXPECT_FALSE(valid(Metric::letter, "E", 4));
  EXPECT_FALSE(valid(Metric::letter, "AB", 4));
  EXPECT_FALSE(valid(Metric::letter, "", 4));
  EXPECT_FALSE(valid(Metric::letter, "@", 4));
}

TEST(Scorer, LastBoxBalancesItsBraces) {
  EXPECT_EQ(last_boxed(R"(\boxed{1} then \boxed{\frac{1}{2}}.)"), Text(R"(\frac{1}{2})"));
  EXPECT_EQ(last_boxed(R"(\boxed{1)"), Text());
  EXPECT_EQ(last_boxed("12"), Text());
}

TEST(Scorer, NumbersHaveOneSpelling) {
  EXPECT_EQ(canonical_number(" $1,050.00 "), Text("1050"));
  EXPECT_EQ(canonical_number("-007.50"), Text("-7.5"));
  EXPECT_EQ(canonical_number("42."), Text("42"));
  EXPECT_EQ(canonical_number(".5"), Text("0.5"));
  EXPECT_EQ(canonical_number("-0.0"), Text("0"));
  EXPECT_EQ(canonical_number("100"), Text("100"));
  EXPECT_EQ(canonical_number("12 apples"), Text());
  EXPECT_EQ(canonical_number("-"), Text());
  EXPECT_EQ(canonical_number(""), Text());
}

TEST(Scorer, BoxedNumberWinsOverLaterOnes) {
  EXPECT_EQ(number_of_reply(R"(So \boxed{1,200} of 3.)"), Text("1200"));
}

TEST(Scorer, BoxWithoutANumberIsInvalid) {
  EXPECT_EQ(number_of_reply(R"(2 and \boxed{x})"), Text());
}

TEST(Scorer, WithoutABoxTheLastNumberCounts) {
  EXPECT_EQ(number_of_reply("from 3 to $1,234.50, say."), Text("1234.5"));
  EXPECT_EQ(number_of_reply("it is -4"), Text("-4"));
  EXPECT_EQ(number_of_reply("pages 10-12"), Text("12"));
  EXPECT_EQ(number_of_reply("none"), Text());
}

TEST(Scorer, NumbersAreComparedByValue) {
  EXPECT_TRUE(correct(Metric::number, R"(The answer is \boxed{18.0}.)", "18"));
  EXPECT_FALSE(correct(Metric::number, R"(The answer is \boxed{18}.)", "19"));
  EXPECT_TRUE(correct(Metric::number, "70000", "70,000"));
}

TEST(Scorer, ExactComparesTrimmedTexts) {
  EXPECT_TRUE(correct(Metric::exact, " x = 3 \n", "x = 3"));
  EXPECT_FALSE(correct(Metric::exact, "x=3", "x = 3"));
  EXPECT_FALSE(valid(Metric::exact, " \n"));
}

TEST(Scorer, KnowsAnswersThatNoReplyCanMatch) {
  EXPECT_TRUE(is_answer(Metric::letter, "C", 3));
  EXPECT_FALSE(is_answer(Metric::letter, "D", 3));
  EXPECT_FALSE(is_answer(Metric::letter, "A", 0));
  EXPECT_FALSE(is_answer(Metric::number, "many", 0));
  EXPECT_FALSE(is_answer(Metric::exact, "  ", 0));
}

}  // namespace
}  // namespace hrm::infer
