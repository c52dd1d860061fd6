#pragma once
// Writing a folder of corpus shards with all ranks. The bytes depend on the samples and their order only, not on the
// number of ranks or rounds. Nothing stands under a final name before finish().
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/corpus.hpp"

namespace hrm::io {

/// One tokenised sample. `instruction` carries begin and condition tags and the end-of-instruction tag, `response` the
/// end-of-answer tag; neither is empty.
struct Sample {
  std::span<const std::uint32_t> instruction;
  std::span<const std::uint32_t> response;
  std::uint16_t stratum = 0;
};

/// What is known of a corpus before the first sample; equal on all ranks.
struct CorpusHeader {
  std::int64_t vocab_size = 0;
  SpecialIds ids;
  std::int64_t context = 0;
  std::string tokenizer_json;
  std::string options;  ///< preparation options as text; no paths, no times
};

/// Default size of a shard in tokens; bounds the memory that all ranks together hold.
inline constexpr std::int64_t default_tokens_per_shard = std::int64_t{1} << 26;

/// Every member function is collective.
class ShardSetWriter {
 public:
  /// Makes the folder, removes remains of interrupted runs. 73 where the folder cannot be written, or already holds a
  /// corpus and `replace` is false. `expected_tokens` (0: unknown) is checked against the free space.
  ShardSetWriter(comm::Communicator& group, std::filesystem::path folder, CorpusHeader header,
                 std::int64_t tokens_per_shard = default_tokens_per_shard, bool replace = false,
                 std::int64_t expected_tokens = 0);
  ~ShardSetWriter();
  ShardSetWriter(const ShardSetWriter&) = delete;
  ShardSetWriter& operator=(const ShardSetWriter&) = delete;

  /// Adds one round: corpus order is round after round, inside a round rank after rank. Ranks may bring any number of
  /// samples, none included; keep a round to some ten thousand samples per rank (lengths are gathered). A shard ends
  /// before the sample that would take it over tokens_per_shard (a longer sample gets a shard of its own).
  void append(std::span<const Sample> mine);

  /// Writes strata names (index = Sample::stratum), digests and corpus.h5, syncs, renames to the final names. An empty
  /// corpus is 65. Returns what read_corpus_info() would.
  CorpusInfo finish(std::span<const std::string> strata);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hrm::io
