#pragma once
// Logits, loss and its gradient for supervised rows only (golden B.2), in row chunks of fixed size, so that no logits
// of a whole pack exist at once. In a tensor-parallel group each rank has the logits of its own tokens: it tells the
// others a row's maximum, sum of exponentials and label logit, and then knows its columns of the gradient.
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "kernels/cross_entropy.hpp"
#include "kernels/pack_sums.hpp"
#include "model/tensor_group.hpp"
#include "model/weights.hpp"

namespace hrm::model {

using kernels::PackSums;

/// Supervised rows of a pack, sequence by sequence.
struct Supervision {
  std::span<const std::int32_t> rows;      ///< row of the pack, ascending
  std::span<const std::int32_t> labels;    ///< its label
  std::span<const std::int32_t> sequence;  ///< its sequence's number, ascending
};

template <class T>
class Head {
 public:
  /// For packs of `tokens` rows; prepares the products of every chunk size.
  Head(const ModelWeights<T>& weights, const TensorPlace& place, std::int64_t tokens, bool backward);
  /// Bytes that it allocates for training, with `vocab` tokens of width `width` at this rank.
  static std::int64_t bytes(std::int64_t vocab, std::int64_t width, const TensorPlace& place, std::int64_t tokens);

  /// Sums of a pack with final state z (own, D); equal on all ranks of the group.
  PackSums evaluate(Stream stream, const ModelWeights<T>& weights, Matrix<const T> z, const Supervision& supervision,
                    TensorGroup<T>& group);

  /// Also dz (own, D) and dW (V / group size, D) += for the loss divided by `divisor`.
  PackSums forward_backward(Stream stream, const ModelWeights<T>& weights, Matrix<const T> z,
                            const Supervision& supervision, double divisor, TensorGroup<T>& group, Matrix<T> dz,
                            Matrix<float> d_weight);

  /// Loss of every supervised row of the last pack.
  std::span<const float> row_losses() const { return row_loss_.span().first(rows_used_); }

 private:
  void gather(Stream stream, Matrix<const T> z, const Supervision& supervision, TensorGroup<T>& group);
  void chunk(Stream stream, const ModelWeights<T>& weights, std::int64_t first, double scale, bool backward,
             TensorGroup<T>& group, Matrix<float> d_weight);
  void entropy(Stream stream, std::int64_t first, std::int64_t rows, std::int32_t first_token, float scale,
               bool backward, TensorGroup<T>& group);
  PackSums sums(Stream stream, const Supervision& supervision) const;

  std::int64_t tokens_;
  std::int64_t chunk_rows_;
  std::size_t rows_used_ = 0;
  Buffer<T> states_storage_;
  Buffer<T> d_states_storage_;
  Buffer<T> d_logits_storage_;
  Buffer<float> logits_storage_;
  Matrix<T> states_;                    // (tokens rounded up to the bucket, D): gathered z
  Matrix<T> d_states_;                  // the same shape: its gradient
  Matrix<T> d_logits_;                  // (chunk_rows, V / group size)
  Matrix<float> logits_;                // (chunk_rows, V / group size)
  Buffer<kernels::EntropyPart> parts_;  // (group size, rows of the chunk); none in a group of one
  Buffer<std::int32_t> labels_;
  Buffer<std::int32_t> row_argmax_;
  Buffer<float> row_loss_;
};

}  // namespace hrm::model
