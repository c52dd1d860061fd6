#ifdef HRM_TEST_DATA
// The first 3,000 merges of the reference trainer.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "text/bpe_trainer.hpp"

namespace hrm::text {
namespace {

class GoldenMerges : public testing::Test {
 protected:
  GoldenMerges() {
    std::ifstream corpus(folder_ / "corpus.txt");
    std::vector<std::string> lines;
    for (std::string line; std::getline(corpus, line);) {
      lines.push_back(line + "\n");
    }
    WordCounter counter(hrm_layout());
    counter.add(lines);
    trained_ = train_bpe(
        {.vocab_size = 3093, .min_frequency = 0, .special_tokens = false, .initial_alphabet = InitialAlphabet::none},
        counter.finish());
  }

  const std::filesystem::path folder_ = std::filesystem::path(HRM_TEST_DATA) / "data" / "tokenizers" / "bpe_training";
  TokenizerFile trained_;
};

TEST_F(GoldenMerges, AlphabetIsTheReferences) {
  std::ifstream file(folder_ / "alphabet.json");
  const auto alphabet = nlohmann::json::parse(file).get<std::vector<std::string>>();

  for (std::size_t id = 0; id < alphabet.size(); ++id) {
    EXPECT_EQ(trained_.vocab.at(id).first, alphabet[id]);
  }
}

TEST_F(GoldenMerges, MergesAreTheReferences) {
  std::ifstream file(folder_ / "merges.jsonl");
  std::vector<std::pair<std::string, std::string>> merges;
  for (std::string line; std::getline(file, line);) {
    merges.push_back(nlohmann::json::parse(line).get<std::pair<std::string, std::string>>());
  }

  EXPECT_EQ(merges.size(), 3000u);
  EXPECT_EQ(trained_.merges, merges);
}

}  // namespace
}  // namespace hrm::text
#endif
