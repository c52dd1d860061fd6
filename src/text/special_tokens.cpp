#include "text/special_tokens.hpp"

#include <optional>

#include "base/error.hpp"
#include "text/tokenizer.hpp"

namespace hrm::text {
namespace {

std::uint32_t role(const Tokenizer& tokenizer, std::string_view name, std::string_view token) {
  const std::optional<std::uint32_t> id = tokenizer.id_of(token);
  if (!id) {
    fail(ExitCode::bad_data,
         "{}: the vocabulary has no token {}, which marks {}; use a tokenizer made by `hrm tokenizer train` without "
         "--no-special",
         tokenizer.name(), token, name);
  }
  return *id;
}

}  // namespace

SpecialRoles roles(const Tokenizer& tokenizer) {
  return {.begin = role(tokenizer, "the begin of a sample", "<|im_start|>"),
          .end_of_instruction = role(tokenizer, "the end of an instruction", "<|im_end|>"),
          .end_of_answer = role(tokenizer, "the end of an answer", "<|box_end|>"),
          .pad = role(tokenizer, "padding", "<|PAD|>"),
          .direct = role(tokenizer, "the condition direct", "<|object_ref_start|>"),
          .cot = role(tokenizer, "the condition cot", "<|object_ref_end|>"),
          .noisy = role(tokenizer, "the condition noisy", "<|quad_start|>"),
          .synth = role(tokenizer, "the condition synth", "<|quad_end|>")};
}

}  // namespace hrm::text
