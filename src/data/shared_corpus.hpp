#pragma once
// A folder of shards as the ranks of a node share it: the index is read once per node and lies in memory once.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/shared_array.hpp"
#include "data/sample_table.hpp"
#include "io/corpus.hpp"
#include "io/token_reader.hpp"

namespace hrm::data {

/// Memory per node: 18 bytes per sample (and as much again on its first rank while the index is read).
class SharedCorpus {
 public:
  /// Collective over `group`, which outlives this. Opens and verifies the folder; errors are io's (65, 66), on all
  /// ranks.
  SharedCorpus(comm::Communicator& group, const std::filesystem::path& folder);

  SharedCorpus(const SharedCorpus&) = delete;
  SharedCorpus& operator=(const SharedCorpus&) = delete;

  const io::CorpusInfo& info() const { return info_; }
  const SampleTable& table() const { return table_; }
  /// The ranks of `group` on this node.
  comm::Communicator& node() { return node_ ? *node_ : group_; }
  comm::Communicator& group() { return group_; }

  /// Open for reading, for all readers of this corpus.
  const std::shared_ptr<const io::TokenFiles>& token_files() const { return token_files_; }

  /// The P + R tokens of a sample, to be read to `destination`.
  io::TokenRange tokens(std::int64_t sample, std::int32_t* destination) const;

 private:
  void share_index(const io::CorpusIndex& index);

  comm::Communicator& group_;
  std::unique_ptr<comm::Communicator> node_;
  io::CorpusInfo info_;
  std::vector<std::int64_t> shard_first_;  ///< [shards + 1] first sample of each shard
  comm::SharedArray<std::uint64_t> offset_;
  comm::SharedArray<std::uint32_t> instruction_length_;
  comm::SharedArray<std::uint32_t> response_length_;
  comm::SharedArray<std::uint16_t> stratum_;
  SampleTable table_;
  std::shared_ptr<const io::TokenFiles> token_files_;
};

}  // namespace hrm::data
