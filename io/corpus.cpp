#include "io/corpus.hpp"

#include <algorithm>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/stop_request.hpp"
#include "io/corpus_file.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

/// Up to this size every rank checks all bytes, so that a bad copy on any one rank is found.
constexpr std::int64_t whole_check_bytes = std::int64_t{256} << 20;

std::int64_t total_bytes(const CorpusInfo& info) {
  std::int64_t bytes = 0;
  for (const ShardInfo& shard : info.shards) {
    bytes += shard.bytes;
  }
  return bytes;
}

void check_user_blocks(const CorpusInfo& info) {
  for (const ShardInfo& shard : info.shards) {
    const std::filesystem::path path = info.folder / shard.name;
    const UserBlock block = read_user_block(path);
    if (block.length != shard.bytes || block.digest != shard.file_digest) {
      fail(ExitCode::bad_data,
           "{}: is not the file that corpus.h5 lists (size or digest differs); prepare the corpus again",
           path.string());
    }
  }
}

void check_digest(const CorpusInfo& info, const ShardInfo& shard, std::uint64_t digest) {
  if (digest != shard.file_digest) {
    fail(ExitCode::bad_data,
         "{}: is damaged: its digest is {}, corpus.h5 says {}; restore it from a copy or prepare again",
         (info.folder / shard.name).string(), hex(digest), hex(shard.file_digest));
  }
}

/// Digests of all shards, the ranks of `node` reading a share of each.
std::vector<std::uint64_t> shared_digests(comm::Communicator& node, const CorpusInfo& info) {
  std::vector<std::uint64_t> digests(info.shards.size());
  for (std::size_t i = 0; i < digests.size(); ++i) {
    digests[i] = file_digest_part(info.folder / info.shards[i].name, node.rank(), node.size(), look_for_stop);
  }
  return digests;
}

void append_columns(const h5::File& file, CorpusIndex& index) {
  const auto append = [&file](const char* path, auto& column) {
    using T = typename std::remove_reference_t<decltype(column)>::value_type;
    const std::vector<T> values = file.open_dataset(path).read<T>();
    column.insert(column.end(), values.begin(), values.end());
  };
  append(offset_path, index.offset);
  append(instruction_length_path, index.instruction_length);
  append(response_length_path, index.response_length);
  append(stratum_path, index.stratum);
}

/// What is wrong with a sample; null if nothing.
const char* fault(const CorpusInfo& info, const ShardInfo& shard, const CorpusIndex& index, std::size_t sample) {
  const std::uint64_t length =
      std::uint64_t{index.instruction_length[sample]} + std::uint64_t{index.response_length[sample]};
  const auto n_tokens = static_cast<std::uint64_t>(shard.n_tokens);
  if (index.instruction_length[sample] == 0 || index.response_length[sample] == 0) {
    return "has an empty instruction or response";
  }
  if (length > n_tokens || index.offset[sample] > n_tokens - length) {
    return "points outside /tokens";
  }
  if (length - 1 > static_cast<std::uint64_t>(info.context)) {
    return "is longer than the corpus's context";
  }
  return index.stratum[sample] >= info.strata.size() ? "has a stratum that /strata does not list" : nullptr;
}

void check_shard_index(const CorpusInfo& info, const ShardInfo& shard, const CorpusIndex& index, std::int64_t first) {
  for (std::int64_t i = 0; i < shard.n_samples; ++i) {
    if (const char* what = fault(info, shard, index, static_cast<std::size_t>(first + i))) {
      fail(ExitCode::bad_data, "{}: /index: sample {} {}; prepare the corpus again",
           (info.folder / shard.name).string(), i, what);
    }
  }
}

}  // namespace

std::int64_t CorpusIndex::shard_of(std::int64_t sample) const {
  const auto after = std::upper_bound(shard_first.begin(), shard_first.end(), sample);
  return static_cast<std::int64_t>(after - shard_first.begin()) - 1;
}

void verify_shards(comm::Communicator& group, const CorpusInfo& info) {
  comm::together(group, [&] { check_user_blocks(info); });
  const std::unique_ptr<comm::Communicator> node_group = group.node_group();
  const std::unique_ptr<comm::Communicator> alone = comm::serial_communicator();
  const bool whole = node_group == nullptr || total_bytes(info) <= whole_check_bytes;
  comm::Communicator& node = whole ? *alone : *node_group;
  std::vector<std::uint64_t> digests;
  comm::together(group, [&] { digests = shared_digests(node, info); });
  node.sum(std::span(digests));
  comm::together(group, [&] {
    for (std::size_t i = 0; i < digests.size(); ++i) {
      check_digest(info, info.shards[i], digests[i]);
    }
  });
}

CorpusIndex read_corpus_index(const CorpusInfo& info) {
  CorpusIndex index;
  index.shard_first.push_back(0);
  for (const ShardInfo& shard : info.shards) {
    append_columns(open_shard(info, shard), index);
    check_shard_index(info, shard, index, index.shard_first.back());
    index.shard_first.push_back(index.shard_first.back() + shard.n_samples);
  }
  if (index.n_samples() != info.n_samples) {
    fail(ExitCode::bad_data, "{}: the shards hold {} samples, corpus.h5 says {}; prepare the corpus again",
         info.folder.string(), index.n_samples(), info.n_samples);
  }
  return index;
}

Corpus open_corpus(comm::Communicator& group, const std::filesystem::path& folder) {
  Corpus corpus;
  comm::together(group, [&] { corpus.info = read_corpus_info(folder); });
  verify_shards(group, corpus.info);
  comm::together(group, [&] { corpus.index = read_corpus_index(corpus.info); });
  return corpus;
}

}  // namespace hrm::io
