#pragma once
// Tokens that are found in the text as written, before any merging.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hrm::text {

/// One row of `added_tokens` in tokenizer.json.
struct AddedToken {
  std::uint32_t id = 0;
  std::string content;
  bool special = false;     // left out by decoding with skip_special, not recognised in plain text
  bool normalized = false;  // looked for in the normalised text, not in the raw one
  bool lstrip = false;      // takes white space in front of it along
  bool rstrip = false;      // takes white space behind it along
};

/// Finds added tokens: the leftmost one, the longest of those that start there.
class AddedTokenFinder {
 public:
  AddedTokenFinder() : by_first_byte_(256) {}
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  struct Found {
    std::uint32_t id;
    std::size_t begin;
    std::size_t end;
  };
  /// The first token at or behind `from`, its white space included. With `skip_special` a special token's name stays
  /// text, and nothing inside the name is looked at.
  std::optional<Found> find(std::string_view text, std::size_t from, bool skip_special) const;

  bool empty() const { return tokens_.empty(); }

 private:
  const AddedToken* longest_at(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;                       // longest first
  std::vector<std::vector<std::size_t>> by_first_byte_;  // [256], indices into tokens_
};

}  // namespace hrm::text
