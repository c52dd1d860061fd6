#pragma once
// A small folder of shards whose tokens are a pure function of the sample, for tests of reading.
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "comm/communicator.hpp"
#include "data/pack.hpp"
#include "io/shard_writer.hpp"

namespace hrm::data {

inline constexpr std::int64_t corpus_vocabulary = 1000;

/// Instruction and response of sample `i`: 1 to 20 and 1 to 15 tokens.
struct WrittenSample {
  explicit WrittenSample(std::uint64_t i) : WrittenSample(i, RandomStream(2, RandomPurpose::demo)) {}
  WrittenSample(std::uint64_t i, const RandomStream& random)
      : tokens(1 + random.below(2 * i, 20) + 1 + random.below(2 * i + 1, 15)), prefix(1 + random.below(2 * i, 20)) {
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      tokens[t] = static_cast<std::uint32_t>((i * 131 + t * 7) % corpus_vocabulary);
    }
  }
  std::vector<std::uint32_t> tokens;
  std::size_t prefix;
};

/// The pack of these samples, made from their definition.
inline Pack expected_pack(std::span<const std::uint32_t> samples, std::int64_t slots) {
  std::vector<std::vector<std::int32_t>> tokens;
  std::vector<SampleTokens> parts;
  for (const std::uint32_t number : samples) {
    const WrittenSample sample(number);
    tokens.emplace_back(sample.tokens.begin(), sample.tokens.end());
    parts.push_back({tokens.back(), static_cast<std::int64_t>(sample.prefix)});
  }
  Pack pack(slots);
  build_pack(parts, Supervise::response, pack);
  return pack;
}

/// Collective: writes samples 0 … count - 1 in this order, stratum i % 3, into several shards.
inline void write_corpus(comm::Communicator& group, const std::filesystem::path& folder, std::int64_t count) {
  io::CorpusHeader header;
  header.vocab_size = corpus_vocabulary;
  header.ids = {6, 7, 11, 0, 8, 9, 12, 13};
  header.context = 64;
  header.tokenizer_json = "{}";
  io::ShardSetWriter writer(group, folder, header, 1500);
  std::vector<WrittenSample> mine;
  std::vector<io::Sample> samples;
  for (std::int64_t i = 0; group.rank() == 0 && i < count; ++i) {
    mine.emplace_back(static_cast<std::uint64_t>(i));
  }
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const std::span<const std::uint32_t> tokens(mine[i].tokens);
    samples.push_back(
        {tokens.first(mine[i].prefix), tokens.subspan(mine[i].prefix), static_cast<std::uint16_t>(i % 3)});
  }
  writer.append(samples);
  const std::vector<std::string> strata{"a", "b", "c"};
  writer.finish(strata);
}

/// A folder that is removed with the object.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string name) : path_(std::filesystem::temp_directory_path() / std::move(name)) {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace hrm::data
