#pragma once
// Scaled embedding (golden A.3): x[t] = c E[ids[t]], dE[v] = c Σ_{ids[t]=v} dx[t].
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// x (T, D) from table (V, D) and ids (T). Row v of the table belongs to token first + v; rows of other tokens are
/// zero.
template <class T>
void embedding_forward(Stream, Matrix<const T> table, std::span<const std::int32_t> ids, float scale, Matrix<T> x,
                       std::int32_t first = 0);

/// Entries [first, last) that belong to one token.
struct EmbeddingRun {
  std::int32_t first;
  std::int32_t last;
  std::int32_t token;
  std::int32_t partial;  ///< row of partial sums that takes their sum; -1: they are all of the token's
};

/// Positions of a pack sorted by token id (stable), so that the gradient has one fixed order. Views of an
/// EmbeddingOrderBuffer, or of a copy of it in device memory.
struct EmbeddingOrder {
  std::span<const std::int32_t> positions;
  std::span<const std::int32_t> starts;  ///< positions[starts[k] .. starts[k+1]) all have id ids[k]
  std::span<const std::int32_t> ids;
  std::span<const EmbeddingRun> chunks;  ///< all positions, in order, in runs of at most embedding_chunk
  std::span<const EmbeddingRun> splits;  ///< by token with several chunks: their rows of partial sums
  std::int64_t partial_rows = 0;
};

/// Positions that one GPU block adds up: a frequent token is the work of many.
inline constexpr std::int64_t embedding_chunk = 32;

/// Most partial_rows of `slots` positions: a token of n > 32 positions has ceil(n / 32) < n / 16 chunks.
constexpr std::int64_t embedding_partial_rows(std::int64_t slots) {
  return slots / (embedding_chunk / 2);
}

/// Memory of an EmbeddingOrder, allocated once.
class EmbeddingOrderBuffer {
 public:
  explicit EmbeddingOrderBuffer(std::int64_t slots);

  EmbeddingOrder order() const { return order_at(words_.data()); }
  /// The same order in a copy of words() at `copy` (aligned to 16 bytes), as on a device.
  EmbeddingOrder order_at(const std::int32_t* copy) const;
  std::span<const std::int32_t> words() const { return words_.span(); }

 private:
  friend void sort_by_id(std::span<const std::int32_t> ids, EmbeddingOrderBuffer& buffer);
  /// Positions [first, last), all of token `id`: its chunks.
  void append_run(std::int32_t id, std::int32_t first, std::int32_t last);
  EmbeddingRun* runs(std::int64_t first) { return reinterpret_cast<EmbeddingRun*>(words_.data()) + first; }
  /// `which` 0: positions, 1: ids, 2: starts.
  std::int32_t* list(std::int64_t which) { return words_.data() + 4 * (slots_ + most_splits_) + which * slots_; }

  std::int64_t slots_;
  std::int64_t most_splits_;
  Buffer<std::int32_t> words_;  // chunks (slots), splits, positions (slots), ids (slots), starts (slots + 1)
  std::int64_t positions_ = 0;
  std::int64_t distinct_ = 0;
  std::int64_t chunks_ = 0;
  std::int64_t splits_ = 0;
  std::int64_t partial_rows_ = 0;
};

/// Order over ids[0 .. used), at most the buffer's slots; later positions are padding and get no gradient.
void sort_by_id(std::span<const std::int32_t> ids, EmbeddingOrderBuffer& buffer);

/// dtable (V, D) float32 += scale * sum of dx rows, in the order of `order`; only tokens first … first + V - 1.
/// `partials`: at least order.partial_rows * D floats of scratch, which the host does not use.
template <class T>
void embedding_backward(Stream, const EmbeddingOrder& order, Matrix<const T> dx, float scale, Matrix<float> dtable,
                        std::int32_t first = 0, std::span<float> partials = {});

/// In device memory.
namespace cuda {
template <class T>
void embedding_forward(Stream, Matrix<const T> table, std::span<const std::int32_t> ids, float scale, Matrix<T> x,
                       std::int32_t first);
template <class T>
void embedding_backward(Stream, const EmbeddingOrder& order, Matrix<const T> dx, float scale, Matrix<float> dtable,
                        std::int32_t first, std::span<float> partials);
}  // namespace cuda

}  // namespace hrm::kernels
