#include <gtest/gtest.h>
#include <omp.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "text/bpe_trainer.hpp"
#include "text/special_tokens.hpp"

namespace hrm::text {
namespace {

using Merges = std::vector<std::pair<std::string, std::string>>;

const BpeOptions bare = {
    .vocab_size = 100, .min_frequency = 0, .special_tokens = false, .initial_alphabet = InitialAlphabet::none};

TEST(BpeTrainer, MergesFollowCountThenLowerIds) {
  // Ids: a 0, b 1, c 2, d 3. a+b three times; then ab+c and ab+d twice each: the lower right id first.
  const std::vector<WordCount> words = {{"ab", 1}, {"abd", 2}, {"abc", 2}, {"cd", 1}};

  const TokenizerFile trained = train_bpe(bare, words);

  EXPECT_EQ(trained.merges, (Merges{{"a", "b"}, {"ab", "c"}, {"ab", "d"}, {"c", "d"}}));
}

TEST(BpeTrainer, OverlappingPairsCountEach) {
  // "aaa" holds a+a twice, so it comes before the three of b+c at count 2 · 2.
  const TokenizerFile trained = train_bpe(bare, std::vector<WordCount>{{"aaa", 2}, {"bc", 3}});

  EXPECT_EQ(trained.merges.at(0), (std::pair<std::string, std::string>{"a", "a"}));
  EXPECT_EQ(trained.merges.at(1), (std::pair<std::string, std::string>{"b", "c"}));
  EXPECT_EQ(trained.merges.at(2), (std::pair<std::string, std::string>{"aa", "a"}));
}

TEST(BpeTrainer, RarePairsAreLeftAlone) {
  BpeOptions options = bare;
  options.min_frequency = 3;

  const TokenizerFile trained = train_bpe(options, std::vector<WordCount>{{"ab", 3}, {"cd", 2}});

  EXPECT_EQ(trained.merges, (Merges{{"a", "b"}}));
}

TEST(BpeTrainer, EveryTokenIsListedOnce) {
  const std::vector<WordCount> words = {{"abc", 1}, {"xbc", 9}, {"abx", 5}, {"bcab", 7}, {"aaaaaaa", 3}};

  const TokenizerFile trained = train_bpe(bare, words);

  std::set<std::string> tokens;
  for (const auto& [token, id] : trained.vocab) {
    EXPECT_TRUE(tokens.insert(token).second) << token;
  }
}

TEST(BpeTrainer, SpecialTokensAndAllBytesComeFirst) {
  const TokenizerFile trained = train_bpe({.vocab_size = 31 + 256}, {});

  EXPECT_EQ(trained.vocab.size(), 31u + 256u);
  EXPECT_EQ(trained.vocab[30].first, "</think>");
  EXPECT_EQ(trained.vocab[31].first, "!");  // the lowest stand-in
  EXPECT_EQ(trained.vocab.back().first, "\u0143");
  EXPECT_EQ(trained.added_tokens.size(), special_token_names.size());
}

TEST(BpeTrainer, ASizeWithoutRoomForTheAlphabetIsRefused) {
  EXPECT_THROW(train_bpe({.vocab_size = 100}, {}), InputError);
}

TEST(WordCounts, DoNotDependOnThreads) {
  std::vector<std::string> documents;
  for (int i = 0; i < 500; ++i) {
    documents.push_back("word" + std::string(1, static_cast<char>('a' + i % 7)) + " and caf\u00e9 " +
                        std::to_string(i % 13));
  }
  const auto count = [&](int threads) {
    omp_set_num_threads(threads);
    WordCounter counter(hrm_layout());
    counter.add(documents);
    std::vector<std::pair<std::string, std::uint64_t>> rows;
    for (const WordCount& word : counter.finish()) {
      rows.emplace_back(word.bytes, word.count);
    }
    return rows;
  };
  const int threads = omp_get_max_threads();

  const auto one = count(1);
  const auto three = count(3);

  omp_set_num_threads(threads);
  EXPECT_EQ(one, three);
}

}  // namespace
}  // namespace hrm::text
