#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "small_tokenizer.hpp"
#include "text/special_tokens.hpp"
#include "text/tokenizer.hpp"

namespace hrm::text {
namespace {

using nlohmann::json;
using test::pieces;

/// Three byte tokens, two merges, one added token; GPT-2's layout.
json small_file() {
  return json::parse(R"({
    "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "decoder": {"type": "ByteLevel"},
    "added_tokens": [{"id": 6, "content": "<end>", "special": true, "normalized": false}],
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3, "\u0120ab": 4, "ba": 5},
              "merges": ["a b", "\u0120 ab"]}})");
}

Tokenizer parse(const json& file) {
  return Tokenizer::parse(file.dump(), "t.json");
}

std::string message_of(const json& file) {
  try {
    parse(file);
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    return error.what();
  }
  return "accepted";
}

TEST(TokenizerFile, BothSpellingsOfMergesMeanTheSame) {
  json pairs = small_file();
  pairs["model"]["merges"] = json::parse(R"([["a", "b"], ["\u0120", "ab"]])");

  EXPECT_EQ(pieces(parse(small_file()), "ab ab"), "ab| ab");
  EXPECT_EQ(pieces(parse(pairs), "ab ab"), "ab| ab");
}

TEST(TokenizerFile, BytesWithoutATokenAreDroppedAndTheirNeighboursMeet) {
  EXPECT_EQ(pieces(parse(small_file()), "axb"), "ab");
}

/// Of a text that is no well-formed file.
std::string message_of_text(const std::string& text) {
  try {
    Tokenizer::parse(text, "t.json");
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    return error.what();
  }
  return "accepted";
}

TEST(TokenizerFile, TextsThatJsonCannotHoldAreRefused) {
  EXPECT_NE(message_of_text("{").find("not valid JSON at byte"), std::string::npos);
  EXPECT_NE(message_of_text("[1e9999]").find("out of range"), std::string::npos);
  EXPECT_NE(message_of_text(std::string(1000000, '[')).find("64 levels"), std::string::npos);
}

TEST(TokenizerFile, AnIdThatNeedsAHugeTableIsRefused) {
  json file = small_file();
  file["model"]["vocab"]["c"] = 10000000;

  EXPECT_NE(message_of(file).find("10000000 of c is out of range"), std::string::npos);
}

TEST(TokenizerFile, PrefixSpaceIsAddedWhereItIsMissing) {
  json file = small_file();
  file["pre_tokenizer"]["add_prefix_space"] = true;

  EXPECT_EQ(pieces(parse(file), "ab ab"), " ab| ab");
}

TEST(TokenizerFile, IgnoreMergesTakesWholeTokensFirst) {
  json file = small_file();
  EXPECT_EQ(pieces(parse(file), "ba"), "b|a");

  file["model"]["ignore_merges"] = true;

  EXPECT_EQ(pieces(parse(file), "ba"), "ba");
}

TEST(TokenizerFile, StrippingTokensTakeWhiteSpaceAlong) {
  json file = small_file();
  EXPECT_EQ(pieces(parse(file), "a <end> b", SpecialTokens::recognise), "a| |<end>| |b");

  file["added_tokens"][0]["lstrip"] = true;
  file["added_tokens"][0]["rstrip"] = true;

  EXPECT_EQ(pieces(parse(file), "a <end> b", SpecialTokens::recognise), "a|<end>|b");
}

TEST(TokenizerFile, TheLongestAddedTokenWins) {
  json file = small_file();
  file["added_tokens"].push_back({{"id", 7}, {"content", "<end><end>"}, {"special", false}});
  file["added_tokens"][1]["normalized"] = false;

  EXPECT_EQ(pieces(parse(file), "<end><end><end>", SpecialTokens::recognise), "<end><end>|<end>");
}

TEST(TokenizerFile, WhiteSpaceIsTheUnicodeProperty) {
  json file = small_file();
  file["model"]["merges"] = json::array();
  // U+180E is no white space: it and the letter behind it are cut apart, unlike a letter and the blank before it.
  file["pre_tokenizer"] = json::parse(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated", "invert": false},
      {"type": "ByteLevel", "add_prefix_space": true, "use_regex": false}]})");

  EXPECT_EQ(pieces(parse(file), "a\u180Eb"), " |a|b");
  EXPECT_EQ(pieces(parse(file), "a\u2003b"), " |a| | |b");
}

TEST(TokenizerFile, WhatIsNotSupportedIsNamed) {
  const auto with = [](const char* pointer, json value) {
    json file = small_file();
    file[json::json_pointer(pointer)] = std::move(value);
    return message_of(file);
  };

  EXPECT_TRUE(with("/model/type", "WordPiece").starts_with("t.json: model.type: \"WordPiece\" is not supported"));
  EXPECT_TRUE(with("/model/dropout", 0.1).starts_with("t.json: model.dropout: "));
  EXPECT_TRUE(with("/model/byte_fallback", true).starts_with("t.json: model.byte_fallback: "));
  EXPECT_TRUE(with("/normalizer", {{"type", "NFKC"}}).starts_with("t.json: normalizer: "));
  EXPECT_TRUE(with("/pre_tokenizer", {{"type", "Whitespace"}}).starts_with("t.json: pre_tokenizer: "));
  EXPECT_TRUE(with("/decoder", nullptr).starts_with("t.json: decoder: "));
  EXPECT_TRUE(with("/truncation", {{"max_length", 4}}).starts_with("t.json: truncation: "));
  EXPECT_TRUE(with("/added_tokens/0/single_word", true).starts_with("t.json: added_tokens[0].single_word: "));
}

TEST(TokenizerFile, DamageIsNamed) {
  const auto with = [](const char* pointer, json value) {
    json file = small_file();
    file[json::json_pointer(pointer)] = std::move(value);
    return message_of(file);
  };

  EXPECT_TRUE(with("/model/merges/1", "a c").starts_with("t.json: model.merges[1]: c is not in model.vocab"));
  EXPECT_TRUE(with("/model/merges/0", "abc").starts_with("t.json: model.merges[0]: a pair of tokens"));
  EXPECT_TRUE(with("/model/vocab/a", -1).starts_with("t.json: model.vocab.a: "));
  EXPECT_TRUE(with("/model/vocab/a", 1).find("is taken already") != std::string::npos);
  EXPECT_TRUE(with("/model/vocab", 1).starts_with("t.json: model.vocab: "));
  EXPECT_TRUE(with("/added_tokens/0/id", 2).find("is taken already") != std::string::npos);
}

TEST(TokenizerFile, TruncatedJsonIsRefused) {
  const std::string text = small_file().dump();

  EXPECT_THROW(Tokenizer::parse(text.substr(0, text.size() / 2), "t.json"), InputError);
}

TEST(TokenizerFile, AMissingFileHasItsOwnCode) {
  try {
    Tokenizer::read("no/such/tokenizer.json");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::no_input);
  }
}

TEST(TokenizerFile, AMissingRoleIsNamed) {
  try {
    roles(parse(small_file()));
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_NE(std::string(error.what()).find("<|im_start|>"), std::string::npos);
  }
}

TEST(TokenizerFile, WritingAndReadingKeepsEverything) {
  const TokenizerFile file = parse_tokenizer_file(small_file().dump(), "t.json");

  const TokenizerFile again = parse_tokenizer_file(tokenizer_json(file), "again");

  EXPECT_EQ(again.vocab, file.vocab);
  EXPECT_EQ(again.merges, file.merges);
  EXPECT_EQ(again.use_regex, file.use_regex);
  EXPECT_EQ(again.added_tokens.at(0).content, "<end>");
  EXPECT_TRUE(again.added_tokens.at(0).special);
}

}  // namespace
}  // namespace hrm::text
