#pragma once
// From sample numbers to packs: reads the tokens of some packs in the background, then builds them one by one.
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "data/pack.hpp"
#include "data/shared_corpus.hpp"
#include "io/token_reader.hpp"

namespace hrm::data {

/// One set of packs in flight: start(), other work, finish(), then build(). Not collective. Memory: 8 bytes per slot of
/// `most_packs` packs.
class PackReader {
 public:
  /// `corpus` outlives this.
  PackReader(SharedCorpus& corpus, std::int64_t most_packs, std::int64_t slots, Supervise supervise);

  /// Begins to read the samples of packs first[0] .. first.back() of `samples` (borders of consecutive packs).
  void start(std::span<const std::uint32_t> samples, std::span<const std::int64_t> first);
  /// Waits for the tokens; InputError of io::TokenReader.
  void finish();
  /// Pack `index` of the last start(); after finish().
  void build(std::int64_t index, Pack& pack);

 private:
  const SharedCorpus& corpus_;
  std::int64_t most_packs_;
  std::int64_t slots_;
  Supervise supervise_;
  io::TokenReader reader_;
  Buffer<std::int32_t> tokens_;  ///< (most_packs * 2 * slots): a sample of n slots has n + 1 <= 2 n tokens
  std::vector<io::TokenRange> ranges_;
  std::vector<SampleTokens> samples_;  ///< of all packs in flight
  std::vector<std::int64_t> first_;    ///< [packs + 1] borders in samples_
};

}  // namespace hrm::data
