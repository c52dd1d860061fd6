#pragma once
// Cross-entropy of supervised rows with its gradient (golden B.2). Log-sum-exp in float32.
#include <cmath>
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// For each row r: loss[r] = logsumexp(logits[r]) - logits[r, labels[r]]; argmax[r] the first maximum;
/// dlogits[r] = (softmax(logits[r]) - onehot(labels[r])) * gradient_scale. A label of -1 marks a padding row:
/// loss 0, argmax -1, dlogits 0.
template <class T>
void cross_entropy(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels, float gradient_scale,
                   Matrix<T> dlogits, std::span<float> loss, std::span<std::int32_t> argmax);

/// What one shard of the vocabulary (columns of consecutive tokens), or all of it, knows of a row of logits x.
struct EntropyPart {
  double exp_sum = 0;        ///< Σ exp(x - maximum)
  float maximum = 0;         ///< max x
  float label_logit = 0;     ///< x[label]; 0 where the label lies in another shard
  std::int32_t argmax = -1;  ///< first token with the maximum, counted in the whole vocabulary
  std::int32_t unused = 0;   ///< parts travel as bytes: no hole

  /// ln softmax(x)[label], of all of the vocabulary.
  double log_probability() const {
    return static_cast<double>(label_logit) - static_cast<double>(maximum) - std::log(exp_sum);
  }
};

/// parts (rows) of a shard's logits (rows, V / shards), whose first column is token `first`. Padding rows (label -1)
/// get an empty part.
void cross_entropy_parts(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels, std::int32_t first,
                         std::span<EntropyPart> parts);

/// Joins parts (shards, rows) in the order of the shards: parts[0 .. rows) become those of the whole vocabulary, with
/// maximum m = max m_s, exp_sum = Σ_s exp_sum_s exp(m_s - m) in double, and the argmax of the first shard that has m.
/// loss and argmax as in cross_entropy.
void cross_entropy_join(Stream, std::span<EntropyPart> parts, std::span<const std::int32_t> labels,
                        std::span<float> loss, std::span<std::int32_t> argmax);

/// The shard's columns of dlogits, as in cross_entropy, from the parts of the whole vocabulary.
template <class T>
void cross_entropy_gradient(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                            std::int32_t first, std::span<const EntropyPart> whole, float gradient_scale,
                            Matrix<T> dlogits);

/// In device memory.
namespace cuda {
template <class T>
void cross_entropy(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels, float gradient_scale,
                   Matrix<T> dlogits, std::span<float> loss, std::span<std::int32_t> argmax);
void cross_entropy_parts(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels, std::int32_t first,
                         std::span<EntropyPart> parts);
void cross_entropy_join(Stream, std::span<EntropyPart> parts, std::span<const std::int32_t> labels,
                        std::span<float> loss, std::span<std::int32_t> argmax);
template <class T>
void cross_entropy_gradient(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels,
                            std::int32_t first, std::span<const EntropyPart> whole, float gradient_scale,
                            Matrix<T> dlogits);
}  // namespace cuda

}  // namespace hrm::kernels
