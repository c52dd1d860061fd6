#ifdef HRM_TEST_DATA
// Ids and texts of Hugging Face's library for three tokenizers, 350 texts each.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "text/tokenizer.hpp"

namespace hrm::text {
namespace {

class Vectors : public testing::TestWithParam<const char*> {
 protected:
  const std::filesystem::path folder_ = std::filesystem::path(HRM_TEST_DATA) / "data" / "tokenizers";
  const Tokenizer tokenizer_ = Tokenizer::read(folder_ / (std::string(GetParam()) + ".json"));
};

TEST_P(Vectors, IdsAndTextsAreTheReferences) {
  std::ifstream file(folder_ / ("vectors_" + std::string(GetParam()) + ".jsonl"));
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    const auto vector = nlohmann::json::parse(line);
    const auto ids = vector["ids"].get<std::vector<std::uint32_t>>();
    SCOPED_TRACE(line.substr(0, 200));

    EXPECT_EQ(tokenizer_.encode(vector["text"].get<std::string>(), SpecialTokens::recognise), ids);
    EXPECT_EQ(tokenizer_.decode(ids, false), vector["decoded"].get<std::string>());
    EXPECT_EQ(tokenizer_.decode(ids, true), vector["decoded_skip_special"].get<std::string>());
  }
  EXPECT_EQ(lines, 350);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Vectors, testing::Values("gpt2", "hrm_shape_65k", "hrm_trained_8k"));

}  // namespace
}  // namespace hrm::text
#endif
