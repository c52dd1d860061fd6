#pragma once
// From an instruction to the tokens of a prompt: begin, conditions in the order given, the text, end of instruction
// (README "Tokens").
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/special_tokens.hpp"
#include "text/tokenizer.hpp"

namespace hrm::infer {

using Tokens = std::vector<std::int32_t>;

class PromptEncoder {
 public:
  /// InputError(bad_data) where the tokenizer lacks a role. `tokenizer` outlives this.
  explicit PromptEncoder(const text::Tokenizer& tokenizer);

  /// Prompt under `conditions`, several joined by commas ("synth,cot"), empty: none. Names of special tokens inside
  /// `instruction` stay text. InputError(bad_data) beginning with `place` for an unknown condition; `instruction`
  /// is UTF-8.
  Tokens encode(std::string_view instruction, std::string_view conditions, const std::string& place) const;

  std::int32_t end_of_answer() const { return static_cast<std::int32_t>(roles_.end_of_answer); }
  /// Text of generated tokens.
  std::string text(const Tokens& tokens) const;

 private:
  const text::Tokenizer& tokenizer_;
  text::SpecialRoles roles_;
};

}  // namespace hrm::infer
