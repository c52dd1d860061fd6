#include "text/bpe_trainer.hpp"

#include <algorithm>
#include <array>
#include <queue>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/utf8.hpp"
#include "text/byte_level.hpp"
#include "text/special_tokens.hpp"

namespace hrm::text {
namespace {

using Pair = std::pair<std::uint32_t, std::uint32_t>;

struct PairHash {
  std::size_t operator()(const Pair& pair) const { return splitmix64(std::uint64_t{pair.first} << 32 | pair.second); }
};

/// Where a pair occurs. The count is exact; the list may also name words that hold the pair no longer.
struct Occurrences {
  std::int64_t count = 0;
  std::vector<std::uint32_t> words;
};

struct Candidate {
  std::int64_t count;
  Pair pair;
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

struct Word {
  std::vector<std::uint32_t> symbols;
  std::int64_t count;
};

/// The words as sequences of tokens, and the counts of all neighbouring pairs in them.
class PairCounts {
 public:
  explicit PairCounts(std::vector<Word> words) : words_(std::move(words)) {
    for (std::uint32_t w = 0; w < words_.size(); ++w) {
      const Word& word = words_[w];
      for (std::size_t i = 0; i + 1 < word.symbols.size(); ++i) {
        add({word.symbols[i], word.symbols[i + 1]}, word.count, w);
      }
    }
    offer_grown();
  }

  /// The most frequent pair; count 0 when there is none.
  Candidate best() {
    while (!queue_.empty()) {
      const Candidate top = queue_.top();
      const auto found = pairs_.find(top.pair);
      const std::int64_t count = found == pairs_.end() ? 0 : found->second.count;
      if (count == top.count) {
        return top;
      }
      queue_.pop();
      if (count > 0 && count < top.count) {
        queue_.push({count, top.pair});
      }
    }
    return {0, {}};
  }

  /// Turns every occurrence of `pair` into `merged`.
  void merge(Pair pair, std::uint32_t merged) {
    std::vector<std::uint32_t> places = std::move(pairs_[pair].words);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    for (const std::uint32_t w : places) {
      merge_in_word(w, pair, merged);
    }
    pairs_.erase(pair);
    offer_grown();
  }

 private:
  void add(Pair pair, std::int64_t change, std::uint32_t word) {
    Occurrences& occurrences = pairs_[pair];
    occurrences.count += change;
    if (change > 0) {
      if (occurrences.words.empty() || occurrences.words.back() != word) {
        occurrences.words.push_back(word);
      }
      grown_.push_back(pair);
    }
  }

  void merge_in_word(std::uint32_t w, Pair pair, std::uint32_t merged) {
    std::vector<std::uint32_t>& symbols = words_[w].symbols;
    const std::int64_t count = words_[w].count;
    std::size_t out = 0;
    for (std::size_t i = 0; i < symbols.size();) {
      if (i + 1 == symbols.size() || symbols[i] != pair.first || symbols[i + 1] != pair.second) {
        symbols[out++] = symbols[i++];
        continue;
      }
      if (out > 0) {
        add({symbols[out - 1], pair.first}, -count, w);
        add({symbols[out - 1], merged}, count, w);
      }
      if (i + 2 < symbols.size()) {
        add({pair.second, symbols[i + 2]}, -count, w);
        add({merged, symbols[i + 2]}, count, w);
      }
      symbols[out++] = merged;
      i += 2;
    }
    symbols.resize(out);
  }

  void offer_grown() {
    std::sort(grown_.begin(), grown_.end());
    grown_.erase(std::unique(grown_.begin(), grown_.end()), grown_.end());
    for (const Pair& pair : grown_) {
      const auto found = pairs_.find(pair);
      if (found != pairs_.end() && found->second.count > 0) {
        queue_.push({found->second.count, pair});
      }
    }
    grown_.clear();
  }

  std::vector<Word> words_;
  std::unordered_map<Pair, Occurrences, PairHash> pairs_;
  // Counts in the queue are upper bounds: a pair that shrank is put right when it comes to the top.
  std::priority_queue<Candidate> queue_;
  std::vector<Pair> grown_;  // pairs that gained since the last offer
};

/// The growing vocabulary, by id and by token.
class Vocabulary {
 public:
  std::uint32_t add(const std::string& token) {
    const auto [place, added] = ids_.emplace(token, static_cast<std::uint32_t>(tokens_.size()));
    if (added) {
      tokens_.push_back(token);
    }
    return place->second;
  }
  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  const std::string& token(std::uint32_t id) const { return tokens_[id]; }
  const std::vector<std::string>& tokens() const { return tokens_; }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::uint32_t> ids_;
};

std::array<bool, 256> alphabet(InitialAlphabet initial, std::span<const WordCount> words) {
  std::array<bool, 256> used{};
  used.fill(initial == InitialAlphabet::all);
  for (const WordCount& word : words) {
    for (const char byte : word.bytes) {
      used[static_cast<unsigned char>(byte)] = true;
    }
  }
  return used;
}

/// Gives the bytes in use ids in the order of their stand-ins; [byte] → id.
std::array<std::uint32_t, 256> add_alphabet(const std::array<bool, 256>& used, Vocabulary& vocabulary) {
  std::vector<std::pair<char32_t, std::size_t>> order;
  for (std::size_t byte = 0; byte < used.size(); ++byte) {
    if (used[byte]) {
      order.emplace_back(byte_characters()[byte], byte);
    }
  }
  std::sort(order.begin(), order.end());
  std::array<std::uint32_t, 256> ids{};
  for (const auto& [character, byte] : order) {
    std::string token;
    append_code_point(token, character);
    ids[byte] = vocabulary.add(token);
  }
  return ids;
}

std::vector<Word> as_symbols(std::span<const WordCount> words, const std::array<std::uint32_t, 256>& ids) {
  std::vector<Word> symbols;
  symbols.reserve(words.size());
  for (const WordCount& word : words) {
    Word& row = symbols.emplace_back();
    row.count = static_cast<std::int64_t>(word.count);
    for (const char byte : word.bytes) {
      row.symbols.push_back(ids[static_cast<unsigned char>(byte)]);
    }
  }
  return symbols;
}

void learn_merges(const BpeOptions& options, PairCounts& counts, Vocabulary& vocabulary, TokenizerFile& file) {
  const auto fewest = static_cast<std::int64_t>(std::max<std::uint64_t>(options.min_frequency, 1));
  std::unordered_set<Pair, PairHash> learned;
  while (vocabulary.size() < options.vocab_size) {
    const Candidate best = counts.best();
    if (best.count < fewest) {
      return;
    }
    const std::string& left = vocabulary.token(best.pair.first);
    const std::string& right = vocabulary.token(best.pair.second);
    // Two ways to one string ("ab"+"c", "a"+"bc") share an id, so a pair can come back after its merge.
    if (learned.insert(best.pair).second) {
      file.merges.emplace_back(left, right);
    }
    const std::uint32_t merged = vocabulary.add(left + right);
    counts.merge(best.pair, merged);
  }
}

void add_special_tokens(Vocabulary& vocabulary, TokenizerFile& file) {
  for (const std::string_view token : special_token_names) {
    AddedToken row;
    row.id = vocabulary.add(std::string(token));
    row.content = token;
    row.special = true;
    file.added_tokens.push_back(row);
  }
}

}  // namespace

TokenizerFile hrm_layout() {
  TokenizerFile file;
  file.normalization = Normalization::nfc;
  file.split_patterns = {std::string(hrm_pattern)};
  return file;
}

TokenizerFile train_bpe(const BpeOptions& options, std::span<const WordCount> words) {
  TokenizerFile file = hrm_layout();
  Vocabulary vocabulary;
  if (options.special_tokens) {
    add_special_tokens(vocabulary, file);
  }
  const auto byte_ids = add_alphabet(alphabet(options.initial_alphabet, words), vocabulary);
  if (vocabulary.size() > options.vocab_size) {
    fail(ExitCode::usage, "--vocab-size {} is too small: special tokens and byte symbols take {}; ask for more",
         options.vocab_size, vocabulary.size());
  }
  PairCounts counts(as_symbols(words, byte_ids));
  learn_merges(options, counts, vocabulary, file);
  for (std::uint32_t id = 0; id < vocabulary.tokens().size(); ++id) {
    file.vocab.emplace_back(vocabulary.token(id), id);
  }
  return file;
}

}  // namespace hrm::text
