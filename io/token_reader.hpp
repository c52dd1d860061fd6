#pragma once
// Reads tokens of samples straight from the shards' /tokens datasets, in the background where MPI is there.
#include <cstdint>
#include <memory>
#include <span>

#include "comm/communicator.hpp"
#include "io/corpus.hpp"

namespace hrm::io {

/// `count` tokens from token `offset` of shard `shard`, widened to 32 bits.
struct TokenRange {
  std::int64_t shard = 0;
  std::int64_t offset = 0;
  std::int64_t count = 0;
  std::int32_t* destination = nullptr;  ///< [count], must live until finish()
};

/// The open /tokens datasets of a corpus, for any number of readers: one open file per shard and process.
class TokenFiles {
 public:
  /// Opens every shard of `info` (already verified). `group` only tells whether there is MPI.
  TokenFiles(comm::Communicator& group, const CorpusInfo& info);
  ~TokenFiles();
  TokenFiles(const TokenFiles&) = delete;
  TokenFiles& operator=(const TokenFiles&) = delete;

 private:
  friend class TokenReader;
  struct State;
  std::unique_ptr<State> state_;
};

/// One batch of reads in flight: start(), other work, finish(). Not collective. With an MPI group the reads are
/// MPI_File_iread_at on MPI_COMM_SELF (adjacent ranges merged); without one start() reads at once. Make several readers
/// for several batches in flight. A read that fails or comes back short is InputError(io_error) naming the shard.
class TokenReader {
 public:
  explicit TokenReader(std::shared_ptr<const TokenFiles> files);
  ~TokenReader();
  TokenReader(TokenReader&&) noexcept;
  TokenReader& operator=(TokenReader&&) noexcept;

  /// Ranges may come in any order. A token >= vocab_size is refused in finish() (65).
  void start(std::span<const TokenRange> ranges);
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hrm::io
