#include "text/word_counts.hpp"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "text/normalizer.hpp"

namespace hrm::text {

WordCounter::WordCounter(const TokenizerFile& layout)
    : normalization_(layout.normalization), pre_tokenizer_(layout, "training"), counts_(omp_get_max_threads()) {}

void WordCounter::add(std::span<const std::string> documents) {
  const auto n = static_cast<std::int64_t>(documents.size());
  const int threads = static_cast<int>(counts_.size());
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (std::int64_t i = 0; i < n; ++i) {
    try {
      count(documents[i], counts_[omp_get_thread_num()]);
    } catch (...) {
#pragma omp critical(hrm_word_counts)
      failure = std::current_exception();
    }
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

void WordCounter::count(std::string_view document, Counts& counts) const {
  const std::string text = normalization_ == Normalization::nfc ? to_nfc(document) : std::string(document);
  std::string key;
  pre_tokenizer_.pieces(text, [&](std::string_view piece) {
    key.assign(piece);
    ++counts[key];
  });
}

std::vector<WordCount> WordCounter::finish() {
  Counts all = std::move(counts_.front());
  for (std::size_t thread = 1; thread < counts_.size(); ++thread) {
    for (const auto& [word, count] : counts_[thread]) {
      all[word] += count;
    }
  }
  counts_.assign(counts_.size(), {});
  std::vector<WordCount> sorted;
  sorted.reserve(all.size());
  for (const auto& [word, count] : all) {
    sorted.push_back({word, count});
  }
  std::sort(sorted.begin(), sorted.end(), [](const WordCount& a, const WordCount& b) { return a.bytes < b.bytes; });
  return sorted;
}

}  // namespace hrm::text
