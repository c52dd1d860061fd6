#include "infer/prompt.hpp"

#include "text/sample.hpp"

namespace hrm::infer {

PromptEncoder::PromptEncoder(const text::Tokenizer& tokenizer)
    : tokenizer_(tokenizer), roles_(text::roles(tokenizer)) {}

Tokens PromptEncoder::encode(std::string_view instruction, std::string_view conditions,
                             const std::string& place) const {
  std::vector<std::uint32_t> tags;
  if (!conditions.empty()) {
    tags = text::condition_tags(conditions, roles_, place);
  }
  std::vector<std::uint32_t> tokens;
  text::append_instruction(tokenizer_, roles_, tags, instruction, tokens);
  return {tokens.begin(), tokens.end()};
}

std::string PromptEncoder::text(const Tokens& tokens) const {
  return tokenizer_.decode(std::vector<std::uint32_t>(tokens.begin(), tokens.end()), true);
}

}  // namespace hrm::infer
