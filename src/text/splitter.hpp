#pragma once
// Cuts text into the pieces that byte-pair merges may not cross, by a regular expression.
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace hrm::text {

/// GPT-2's expression, which a ByteLevel pre-tokenizer with use_regex stands for.
inline constexpr std::string_view gpt2_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// HRM-Text's expression (single digits, Qwen's style).
inline constexpr std::string_view hrm_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// A compiled expression; matches are pieces, and so is the text between them. Safe to use from several threads.
class Splitter {
 public:
  /// `where` (file and field) stands in front of the message if the expression does not compile (InputError bad_data).
  Splitter(std::string_view pattern, std::string_view where);

  /// Calls `piece(std::string_view)` for each piece of `utf8` (well-formed) in order; they cover it without gaps.
  template <class Piece>
  void split(std::string_view utf8, Piece&& piece) const {
    Match match;
    std::size_t done = 0;
    for (std::size_t from = 0; from < utf8.size() && next_match(utf8, from, match); from = match.next) {
      if (match.begin > done) {
        piece(utf8.substr(done, match.begin - done));
      }
      if (match.end > match.begin) {
        piece(utf8.substr(match.begin, match.end - match.begin));
        done = match.end;
      }
    }
    if (done < utf8.size()) {
      piece(utf8.substr(done));
    }
  }

 private:
  struct Match {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::size_t next = 0;  // where to look on; behind `end` after an empty match
  };
  bool next_match(std::string_view utf8, std::size_t from, Match& match) const;

  std::string pattern_;
  std::shared_ptr<void> code_;  // pcre2_code
};

}  // namespace hrm::text
