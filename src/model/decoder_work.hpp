#pragma once
// A call of a decoder where its kernels read it.
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention.hpp"
#include "model/decoder_cache.hpp"
#include "model/sent_lists.hpp"

namespace hrm::model {

/// A row of a call: a token at its place in the sequence of a lane.
struct LaneToken {
  std::int32_t token = 0;
  int lane = 0;
  std::int64_t position = 0;
};

/// Where a stack call and layer keep keys and values of the rows: the beginnings of their lanes' caches.
template <class T>
struct CacheRows {
  std::span<T* const> keys;
  std::span<T* const> values;
};

/// Collects the rows of one call at a time and sends what its kernels need in one copy. Lists are in memory of the
/// device, but for those of the layout that are said to be the host's.
template <class T>
class DecoderWork {
 public:
  /// For calls of at most `most_rows` rows, padding included; `cache` outlives this object.
  DecoderWork(std::int64_t most_rows, kernels::MaskType mask, DecoderCache<T>& cache, Device& device);

  void begin();
  void add(const LaneToken& row);
  /// The rows since the end of the prompt before are a prompt.
  void end_prompt();
  /// Pads to `rows` rows. What follows lasts until begin().
  void send(std::int64_t rows);

  /// Rows without padding.
  std::int64_t used() const { return std::ssize(rows_); }
  std::span<const std::int32_t> inputs() const { return inputs_; }        ///< (rows)
  std::span<const std::int32_t> positions() const { return positions_; }  ///< (rows)
  std::span<const std::int32_t> lengths() const { return lengths_; }      ///< (used): of the sequences up to the row
  std::span<const std::int32_t> last_rows() const { return last_rows_; }  ///< (prompts)
  const kernels::SequenceLayout& layout() const { return layout_; }       ///< of the prompts
  CacheRows<T> cache(std::int64_t call, std::int64_t layer) const;

 private:
  void send_rows(std::int64_t rows);
  void send_cache();

  DecoderCache<T>& cache_;
  SentLists lists_;
  std::vector<LaneToken> rows_;                // of the host, as are the next four
  std::vector<std::int32_t> first_rows_;       // cu_seqlens of the prompts
  std::vector<std::int32_t> prompt_lengths_;   // of the prompts
  std::vector<std::int32_t> host_last_rows_;   // of the prompts
  std::vector<kernels::AttentionTile> tiles_;  // of the prompts
  kernels::SequenceLayout layout_;
  std::span<const std::int32_t> inputs_;
  std::span<const std::int32_t> positions_;
  std::span<const std::int32_t> lengths_;
  std::span<const std::int32_t> last_rows_;
  std::span<T* const> pointers_;  // (calls, layers, keys | values, used)
};

}  // namespace hrm::model
