#include <gtest/gtest.h>

#include "base/error.hpp"
#include "config/ini.hpp"

namespace hrm::config {
namespace {

std::string only_value(const std::string& text) {
  return scan_ini(text, "a.cfg").at(0).value;
}

std::string error_of(const std::string& text) {
  try {
    scan_ini(text, "a.cfg");
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    return error.what();
  }
  return "no error";
}

TEST(Ini, JoinsSectionAndKeyAndCountsLines) {
  const auto entries = scan_ini("# first\n\n[model]\r\n layers = 4 \n[train]\nseed=1", "a.cfg");

  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].key, "model.layers");
  EXPECT_EQ(entries[0].value, "4");
  EXPECT_EQ(entries[0].line, 4);
  EXPECT_EQ(entries[1].key, "train.seed");
  EXPECT_EQ(entries[1].line, 6);
}

TEST(Ini, KeysBeforeAnySectionCarryTheirOwn) {
  EXPECT_EQ(scan_ini("data.path = x", "a").at(0).key, "data.path");
}

TEST(Ini, HashInsideAWordBelongsToTheValue) {
  EXPECT_EQ(only_value("[data]\npath = runs/a#1"), "runs/a#1");
}

TEST(Ini, HashAfterABlankStartsAComment) {
  EXPECT_EQ(only_value("[data]\npath = runs/a # 1"), "runs/a");
}

TEST(Ini, ValueMayBeEmpty) {
  EXPECT_EQ(only_value("[data]\npath =  # none"), "");
}

TEST(Ini, ByteOrderMarkIsSkipped) {
  EXPECT_EQ(only_value("\xEF\xBB\xBF[data]\npath = x"), "x");
}

TEST(Ini, QuotesKeepBlanksAndHashes) {
  EXPECT_EQ(only_value("[data]\npath = \" a #1 \\\" \\\\ \" # comment"), " a #1 \" \\ ");
}

TEST(Ini, QuotedTextIsReadBack) {
  for (const std::string value : {"plain", "", " a", "a #b", "#x", "\"q\"", "a\\ #", "a = b; c"}) {
    EXPECT_EQ(only_value("[s]\nk = " + quoted_if_needed(value)), value);
  }
}

TEST(Ini, OpenQuoteIsAnErrorWithItsLine) {
  EXPECT_NE(error_of("[data]\npath = \"x").find("a.cfg:2: "), std::string::npos);
}

TEST(Ini, TextAfterAQuotedValueIsAnError) {
  EXPECT_NE(error_of("[d]\np = \"x\" y").find("a.cfg:2"), std::string::npos);
}

TEST(Ini, LineWithoutEqualsIsAnErrorWithItsLine) {
  EXPECT_NE(error_of("[data]\n\npath x").find("a.cfg:3: "), std::string::npos);
}

TEST(Ini, BrokenSectionIsAnError) {
  EXPECT_NE(error_of("[data\npath = x").find("a.cfg:1: "), std::string::npos);
}

TEST(Ini, SecondValueOfAKeyIsAnErrorWithBothLines) {
  const std::string error = error_of("[train]\nseed = 1\nseed = 2");

  EXPECT_NE(error.find("a.cfg:3: train.seed was given in line 2"), std::string::npos) << error;
}

}  // namespace
}  // namespace hrm::config
