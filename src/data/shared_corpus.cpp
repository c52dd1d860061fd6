#include "data/shared_corpus.hpp"

#include <algorithm>
#include <string>

#include "base/digest.hpp"
#include "base/error.hpp"

namespace hrm::data {
namespace {

/// Ranks that read different corpora (folders local to a node) would train on other samples than they say.
void check_same_corpus(comm::Communicator& group, const io::CorpusInfo& info, const std::filesystem::path& folder) {
  const std::vector<std::string> digests = group.gather(hex(info.corpus_digest));
  comm::together(group, [&] {
    if (digests[static_cast<std::size_t>(group.rank())] != digests[0]) {
      fail(ExitCode::bad_data, "{}: holds the corpus {} here and {} on rank 0; give every node the same shards",
           folder.string(), hex(info.corpus_digest), digests[0]);
    }
  });
}

io::CorpusInfo verified_info(comm::Communicator& group, const std::filesystem::path& folder) {
  io::CorpusInfo info;
  comm::together(group, [&] { info = io::read_corpus_info(folder); });
  check_same_corpus(group, info, folder);
  io::verify_shards(group, info);
  return info;
}

template <class T>
void copy_column(const std::vector<T>& from, comm::SharedArray<T>& to) {
  std::copy(from.begin(), from.end(), to.writable().begin());
}

}  // namespace

SharedCorpus::SharedCorpus(comm::Communicator& group, const std::filesystem::path& folder)
    : group_(group),
      node_(group.node_group()),
      info_(verified_info(group, folder)),
      offset_(node(), info_.n_samples),
      instruction_length_(node(), info_.n_samples),
      response_length_(node(), info_.n_samples),
      stratum_(node(), info_.n_samples) {
  comm::together(group, [&] {
    if (node().rank() == 0) {
      share_index(io::read_corpus_index(info_));
    }
  });
  offset_.publish();
  instruction_length_.publish();
  response_length_.publish();
  stratum_.publish();
  comm::together(group, [&] { token_files_ = std::make_shared<const io::TokenFiles>(group, info_); });
  shard_first_.push_back(0);
  for (const io::ShardInfo& shard : info_.shards) {
    shard_first_.push_back(shard_first_.back() + shard.n_samples);
  }
  table_ = {instruction_length_.values(), response_length_.values(), stratum_.values(), {}};
  for (const io::StratumTotals& stratum : info_.strata) {
    table_.strata.push_back(stratum.name);
  }
}

void SharedCorpus::share_index(const io::CorpusIndex& index) {
  copy_column(index.offset, offset_);
  copy_column(index.instruction_length, instruction_length_);
  copy_column(index.response_length, response_length_);
  copy_column(index.stratum, stratum_);
}

io::TokenRange SharedCorpus::tokens(std::int64_t sample, std::int32_t* destination) const {
  const auto after = std::upper_bound(shard_first_.begin(), shard_first_.end(), sample);
  io::TokenRange range;
  range.shard = after - shard_first_.begin() - 1;
  range.offset = static_cast<std::int64_t>(offset_.values()[static_cast<std::size_t>(sample)]);
  range.count = table_.prefix(sample) + table_.response(sample);
  range.destination = destination;
  return range;
}

}  // namespace hrm::data
