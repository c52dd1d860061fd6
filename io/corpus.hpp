#pragma once
// Reading a folder of corpus shards: what it holds (corpus.h5), the index of every sample, and verification. Shards
// that do not match their digests, sizes or bounds are refused (65), missing ones are 66; the message names the file.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "comm/communicator.hpp"

namespace hrm::io {

/// Ids of the special tokens by role, as shards store them (attributes id_begin …).
struct SpecialIds {
  std::int64_t begin = -1;
  std::int64_t end_of_instruction = -1;
  std::int64_t end_of_answer = -1;
  std::int64_t pad = -1;
  std::int64_t condition_direct = -1;
  std::int64_t condition_cot = -1;
  std::int64_t condition_noisy = -1;
  std::int64_t condition_synth = -1;
};

struct StratumTotals {
  std::string name;
  std::int64_t n_samples = 0;
  std::int64_t n_tokens = 0;
};

struct ShardInfo {
  std::string name;  ///< file name inside the folder, "shard-00000.h5"
  std::int64_t bytes = 0;
  std::int64_t n_samples = 0;
  std::int64_t n_tokens = 0;
  std::uint64_t file_digest = 0;  ///< of all bytes behind the user block
};

/// Content of corpus.h5.
struct CorpusInfo {
  std::filesystem::path folder;
  std::int64_t vocab_size = 0;  ///< unpadded
  SpecialIds ids;
  std::int64_t context = 0;  ///< longest P + R - 1 that `prepare` let through (golden B.1)
  std::int64_t n_samples = 0;
  std::int64_t n_tokens = 0;
  std::uint64_t tokenizer_digest = 0;  ///< digest_text(tokenizer_json)
  std::uint64_t corpus_digest = 0;
  std::string tokenizer_json;
  std::string options;  ///< preparation options as text
  std::vector<StratumTotals> strata;
  std::vector<ShardInfo> shards;
};

/// Column arrays over all samples of all shards in corpus order (shard after shard).
struct CorpusIndex {
  std::vector<std::int64_t> shard_first;          ///< [n_shards + 1] first sample of each shard
  std::vector<std::uint64_t> offset;              ///< [n_samples] first token inside its shard's /tokens
  std::vector<std::uint32_t> instruction_length;  ///< [n_samples] P
  std::vector<std::uint32_t> response_length;     ///< [n_samples] R
  std::vector<std::uint16_t> stratum;             ///< [n_samples] index into CorpusInfo::strata

  std::int64_t n_samples() const { return static_cast<std::int64_t>(offset.size()); }
  /// Shard that holds `sample`.
  std::int64_t shard_of(std::int64_t sample) const;
};

struct Corpus {
  CorpusInfo info;
  CorpusIndex index;
};

/// Reads and checks corpus.h5. Not collective.
CorpusInfo read_corpus_info(const std::filesystem::path& folder);

/// Checks size and digest of every shard against its user block and corpus.h5. Collective. Every rank checks a small
/// corpus whole (node-local copies may differ); of a large one the ranks of a node check a share each. A failure on any
/// rank is thrown on all, naming rank and file; 75 when a stop is requested meanwhile.
void verify_shards(comm::Communicator& group, const CorpusInfo& info);

/// Reads the index of all shards, whose digests have been verified, and checks it: lengths positive, every sample
/// inside its shard's /tokens, strata known, attributes equal to corpus.h5's. Not collective.
CorpusIndex read_corpus_index(const CorpusInfo& info);

/// All of the above, collective; one rank's bad copy is reported on every rank. Serial tools pass
/// serial_communicator().
Corpus open_corpus(comm::Communicator& group, const std::filesystem::path& folder);

}  // namespace hrm::io
