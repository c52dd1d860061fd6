#pragma once
// tokenizer.json of Hugging Face's library, as far as byte-level BPE needs it.
// Read: model BPE without dropout, affixes, byte fallback or unknown token; merges as "a b" or ["a","b"]; normalizer
// null or NFC; pre_tokenizer ByteLevel or Sequence[Split(Regex, Isolated)…, ByteLevel]; decoder ByteLevel;
// post_processor null or ByteLevel (it changes no ids). Anything else is refused, naming the field.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/added_tokens.hpp"
#include "text/normalizer.hpp"

namespace hrm::text {

struct TokenizerFile {
  Normalization normalization = Normalization::none;
  std::vector<std::string> split_patterns;                   // applied one after the other
  bool add_prefix_space = false;                             // a blank in front of each piece that has none
  bool use_regex = false;                                    // ByteLevel's own expression, after split_patterns
  bool ignore_merges = false;                                // a piece that is a token as a whole is not merged
  std::vector<std::pair<std::string, std::uint32_t>> vocab;  // without tokens that stand in added_tokens alone
  std::vector<std::pair<std::string, std::string>> merges;
  std::vector<AddedToken> added_tokens;
};

/// `name` stands in front of messages. Errors: InputError(bad_data).
TokenizerFile parse_tokenizer_file(std::string_view json, const std::string& name);

/// The text of a tokenizer.json in HRM-Text's layout; merges as pairs.
std::string tokenizer_json(const TokenizerFile& file);

}  // namespace hrm::text
