#include <gtest/gtest.h>

#include <string>

#include "base/utf8.hpp"

namespace hrm {
namespace {

TEST(Utf8, WellFormedTextHasNoInvalidByte) {
  EXPECT_EQ(first_invalid_utf8("plain ascii, longer than eight bytes"), std::nullopt);
  EXPECT_EQ(first_invalid_utf8("\xC2\x80 \xE0\xA0\x80 \xED\x9F\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF"), std::nullopt);
}

TEST(Utf8, OffsetOfTheFirstBadSequenceIsFound) {
  EXPECT_EQ(first_invalid_utf8("0123456789\xC0\xAF"), 10u);      // overlong
  EXPECT_EQ(first_invalid_utf8("\xED\xA0\x80"), 0u);             // surrogate
  EXPECT_EQ(first_invalid_utf8("a\xF4\x90\x80\x80"), 1u);        // above U+10FFFF
  EXPECT_EQ(first_invalid_utf8("ab\xE2\x82"), 2u);               // cut off
  EXPECT_EQ(first_invalid_utf8(std::string("abc\x80", 4)), 3u);  // continuation without a lead
}

TEST(Utf8, CodePointsSurviveARoundTrip) {
  for (const char32_t point : {U'A', U'\u00e9', U'\u20ac', U'\U0001f600'}) {
    std::string text;
    append_code_point(text, point);

    EXPECT_EQ(decode_code_point(text, 0).value, point);
    EXPECT_EQ(decode_code_point(text, 0).length, text.size());
  }
}

TEST(Utf8, FirstCodePointsCountsCharactersNotBytes) {
  EXPECT_EQ(first_code_points("a\u00e9\u20acz", 3), "a\u00e9\u20ac");
  EXPECT_EQ(first_code_points("ab", 10), "ab");
}

TEST(Utf8, EachMaximalBadPartBecomesOneReplacement) {
  // The examples of the Unicode standard, table 3-11.
  EXPECT_EQ(lossy_utf8("a\xF0\x80\x80\x41"), "a\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(lossy_utf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "\uFFFD\uFFFD\uFFFD\uFFFDA");
  EXPECT_EQ(lossy_utf8("tail \xE2\x82"), "tail \uFFFD");
}

}  // namespace
}  // namespace hrm
