#include "infer/prompt.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"

namespace hrm::infer {

PromptEncoder::PromptEncoder(const text::Tokenizer& tokenizer)
    : tokenizer_(tokenizer), roles_(text::roles(tokenizer)) {}

Tokens PromptEncoder::conditions(std::string_view names, const std::string& place) const {
  struct Condition {
    std::string_view name;
    std::uint32_t id;
  };
  const std::array<Condition, 4> known{Condition{"direct", roles_.direct}, Condition{"cot", roles_.cot},
                                       Condition{"noisy", roles_.noisy}, Condition{"synth", roles_.synth}};
  Tokens ids;
  while (!names.empty()) {
    const std::string_view name = names.substr(0, names.find(','));
    const auto* found = std::ranges::find(known, name, &Condition::name);
    if (found == known.end()) {
      fail(ExitCode::bad_data,
           "{}: the condition '{}' is unknown; use direct, cot, noisy, synth, several joined by "
           "commas",
           place, name);
    }
    ids.push_back(static_cast<std::int32_t>(found->id));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
  }
  return ids;
}

Tokens PromptEncoder::encode(std::string_view instruction, const Tokens& conditions) const {
  Tokens tokens{static_cast<std::int32_t>(roles_.begin)};
  tokens.insert(tokens.end(), conditions.begin(), conditions.end());
  for (const std::uint32_t id : tokenizer_.encode(instruction, text::SpecialTokens::plain)) {
    tokens.push_back(static_cast<std::int32_t>(id));
  }
  tokens.push_back(static_cast<std::int32_t>(roles_.end_of_instruction));
  return tokens;
}

std::string PromptEncoder::text(const Tokens& tokens) const {
  return tokenizer_.decode(std::vector<std::uint32_t>(tokens.begin(), tokens.end()), true);
}

}  // namespace hrm::infer
