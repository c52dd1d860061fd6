#pragma once
#include <string>
#include <vector>

#include "text/bpe_trainer.hpp"
#include "text/tokenizer.hpp"

namespace hrm::text::test {

/// A tokenizer of HRM-Text's layout trained on `documents`.
inline Tokenizer train_small(const std::vector<std::string>& documents, std::int64_t vocab_size) {
  WordCounter counter(hrm_layout());
  counter.add(documents);
  const std::vector<WordCount> words = counter.finish();
  return Tokenizer::parse(tokenizer_json(train_bpe({.vocab_size = vocab_size}, words)), "small");
}

/// The pieces of `text` under `tokenizer`, separated by bars.
inline std::string pieces(const Tokenizer& tokenizer, std::string_view text,
                          SpecialTokens specials = SpecialTokens::plain) {
  std::string joined;
  for (const std::uint32_t id : tokenizer.encode(text, specials)) {
    joined.append(joined.empty() ? "" : "|").append(tokenizer.bytes_of(id));
  }
  return joined;
}

}  // namespace hrm::text::test
