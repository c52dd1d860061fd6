#pragma once
// JSONL files → a folder of corpus shards, with all ranks.
#include <cstdint>
#include <filesystem>
#include <vector>

#include "comm/communicator.hpp"
#include "io/corpus.hpp"
#include "io/shard_writer.hpp"
#include "text/sample.hpp"

namespace hrm::text {

struct PrepareOptions {
  std::vector<std::filesystem::path> inputs;  // corpus order: file after file, line after line
  std::filesystem::path tokenizer;
  std::filesystem::path out;
  std::int64_t context = 4096;  // longest P + R - 1
  Overlong overlong = Overlong::truncate;
  bool skip_bad = false;  // count bad lines instead of stopping at the first
  std::int64_t tokens_per_shard = io::default_tokens_per_shard;
  bool replace = false;  // a corpus that is already in `out`
};

struct PrepareCounts {
  std::uint64_t lines = 0;      // without blank ones
  std::uint64_t truncated = 0;  // kept with a shorter response
  std::uint64_t dropped = 0;    // overlong
  std::uint64_t bad = 0;        // skipped (skip_bad)
};

struct Prepared {
  PrepareCounts counts;
  io::CorpusInfo corpus;
};

/// Collective. Strata are the lines' `source`, else their file's name, in the order of their first kept sample. The
/// files' bytes do not depend on the number of ranks or threads. Memory per rank: one block of lines and its tokens,
/// and what the writer holds. Errors: 65 naming FILE:LINE of the first bad line, 66 missing input, 73 and 74 from the
/// writer; thrown on all ranks.
Prepared prepare(comm::Communicator& group, const PrepareOptions& options);

}  // namespace hrm::text
