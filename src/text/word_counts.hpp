#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/pre_tokenizer.hpp"
#include "text/tokenizer_file.hpp"

namespace hrm::text {

/// A piece of text (its bytes) and how often it occurs.
struct WordCount {
  std::string bytes;
  std::uint64_t count;
};

/// Counts the pieces of documents with all threads; the result does not depend on their number.
class WordCounter {
 public:
  /// Normalises and cuts as `layout` says.
  explicit WordCounter(const TokenizerFile& layout);

  /// Documents are well-formed UTF-8.
  void add(std::span<const std::string> documents);
  /// All pieces, sorted by their bytes; the counter is empty afterwards.
  std::vector<WordCount> finish();

 private:
  using Counts = std::unordered_map<std::string, std::uint64_t>;
  void count(std::string_view document, Counts& counts) const;

  Normalization normalization_;
  PreTokenizer pre_tokenizer_;
  std::vector<Counts> counts_;  // one per thread
};

}  // namespace hrm::text
