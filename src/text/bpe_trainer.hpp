#pragma once
// Learns byte-pair merges: again and again the most frequent pair of neighbours becomes one token.
#include <cstdint>
#include <span>

#include "text/tokenizer_file.hpp"
#include "text/word_counts.hpp"

namespace hrm::text {

enum class InitialAlphabet { all, none };

struct BpeOptions {
  std::int64_t vocab_size = 0;                              // special tokens, alphabet and merges together
  std::uint64_t min_frequency = 2;                          // pairs that occur less often are not merged
  bool special_tokens = true;                               // special_token_names take the first ids
  InitialAlphabet initial_alphabet = InitialAlphabet::all;  // all 256 bytes, or those that occur
};

/// How HRM-Text normalises and cuts text: NFC, its expression, ByteLevel. Without vocabulary.
TokenizerFile hrm_layout();

/// hrm_layout() with vocabulary and merges learned from `words`. Ids: special tokens, the alphabet sorted by stand-in
/// character, merges. Next is the pair with the highest count; on a tie the lower left id, then the lower right id.
/// Neighbours that overlap ("aaa" holds a+a twice) count each. Ends early when no pair reaches min_frequency.
/// InputError(usage) where vocab_size does not hold the special tokens and the alphabet.
TokenizerFile train_bpe(const BpeOptions& options, std::span<const WordCount> words);

}  // namespace hrm::text
