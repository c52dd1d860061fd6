#include "model/head.hpp"

#include <algorithm>

#include "base/round.hpp"
#include "kernels/cross_entropy.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/matmul.hpp"

namespace hrm::model {
namespace {

using kernels::row_bucket;

std::int64_t to_bucket(std::int64_t rows) {
  return round_up(rows, row_bucket);
}

/// Few enough rows that the logits stay small, enough that adding to the weight gradient, whose (V, D) sums are read
/// and written once per chunk, does not become the cost.
std::int64_t chunk_rows_for(std::int64_t vocab, std::int64_t tokens, DeviceType device) {
  if (device == DeviceType::cuda) {
    return std::min<std::int64_t>(4096, to_bucket(tokens));
  }
  const std::int64_t fitting = (std::int64_t{16} << 20) / (vocab * 4) / row_bucket * row_bucket;
  return std::min(std::clamp<std::int64_t>(fitting, 512, 1024), to_bucket(tokens));
}

}  // namespace

template <class T>
Head<T>::Head(const ModelWeights<T>& weights, const TensorPlace& place, std::int64_t tokens, bool backward,
              Device& device)
    : device_(device),
      tokens_(tokens),
      chunk_rows_(chunk_rows_for(weights.head().out(), tokens, device.type())),
      states_storage_(to_bucket(tokens) * weights.head().in(), MemoryPart::workspace, device.memory()),
      d_states_storage_(backward ? to_bucket(tokens) * weights.head().in() : 0, MemoryPart::workspace, device.memory()),
      d_logits_storage_(chunk_rows_ * weights.head().out(), MemoryPart::workspace, device.memory()),
      logits_storage_(chunk_rows_ * weights.head().out(), MemoryPart::workspace, device.memory()),
      states_(states_storage_.data(), to_bucket(tokens), weights.head().in()),
      d_states_(d_states_storage_.data(), to_bucket(tokens), weights.head().in()),
      d_logits_(d_logits_storage_.data(), chunk_rows_, weights.head().out()),
      logits_(logits_storage_.data(), chunk_rows_, weights.head().out()),
      parts_(place.size > 1 ? place.size * chunk_rows_ : 0, MemoryPart::workspace, device.memory()),
      row_argmax_(to_bucket(tokens), MemoryPart::workspace, device.memory()),
      row_loss_(to_bucket(tokens), MemoryPart::workspace, device.memory()),
      sums_(1, MemoryPart::workspace, device.memory()) {
  for (std::int64_t rows = row_bucket; rows <= chunk_rows_; rows += row_bucket) {
    kernels::prepare_linear<T>(rows, weights.head().out(), weights.head().in(), backward, device.type());
  }
}

template <class T>
std::int64_t Head<T>::bytes(std::int64_t vocab, std::int64_t width, const TensorPlace& place, std::int64_t tokens,
                            DeviceType device) {
  const std::int64_t chunk = chunk_rows_for(vocab, tokens, device);
  const auto element = static_cast<std::int64_t>(sizeof(T));
  const auto part = static_cast<std::int64_t>(sizeof(kernels::EntropyPart));
  return to_bucket(tokens) * (2 * width * element + 8) + chunk * vocab * (element + 4) +
         (place.size > 1 ? place.size * chunk * part : 0) + static_cast<std::int64_t>(sizeof(PackSums));
}

template <class T>
void Head<T>::gather(Stream stream, Matrix<const T> z, const PackWork& pack, TensorGroup<T>& group) {
  rows_used_ = pack.rows.size();
  const std::int64_t padded = to_bucket(static_cast<std::int64_t>(rows_used_));
  kernels::gather_rows<T>(stream, group.gather(stream, z, tokens_), pack.rows, states_.slice(0, padded));
}

/// Losses and predictions of `rows` supervised rows from `first` on, whose logits lie in logits_; d_logits_ too when
/// `backward`.
template <class T>
void Head<T>::entropy(Stream stream, const PackWork& pack, std::int64_t first, std::int64_t rows,
                      std::int32_t first_token, float scale, bool backward, TensorGroup<T>& group) {
  const Matrix<const float> logits = logits_.slice(0, rows);
  const Matrix<T> d_logits = d_logits_.slice(0, rows);
  const std::span<const std::int32_t> labels =
      pack.labels.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows));
  const std::span<float> loss = row_loss_.span(first, rows);
  const std::span<std::int32_t> argmax = row_argmax_.span(first, rows);
  if (group.alone()) {
    kernels::cross_entropy<T>(stream, logits, labels, scale, d_logits, loss, argmax);
    return;
  }
  const TensorPlace& place = group.place();
  const std::span<kernels::EntropyPart> parts = parts_.span(0, place.size * rows);
  kernels::cross_entropy_parts(stream, logits, labels, first_token, parts_.span(place.rank * rows, rows));
  group.gather_parts(stream, parts);
  kernels::cross_entropy_join(stream, parts, labels, loss, argmax);
  if (backward) {
    kernels::cross_entropy_gradient<T>(stream, logits, labels, first_token, parts, scale, d_logits);
  }
}

template <class T>
void Head<T>::chunk(Stream stream, const ModelWeights<T>& weights, const PackWork& pack, std::int64_t first,
                    double scale, bool backward, TensorGroup<T>& group, Matrix<float> d_weight) {
  const std::int64_t left = to_bucket(static_cast<std::int64_t>(rows_used_)) - first;
  const std::int64_t rows = std::min(chunk_rows_, left);
  const Matrix<T> states = states_.slice(first, rows);
  const Matrix<T> d_logits = d_logits_.slice(0, rows);
  kernels::linear_forward_f32<T>(stream, states, weights.head(), logits_.slice(0, rows));
  entropy(stream, pack, first, rows, weights.first_token(), static_cast<float>(scale), backward, group);
  if (backward) {
    kernels::linear_backward_input<T>(stream, d_logits, weights.head(), d_states_.slice(first, rows));
    kernels::linear_backward_weight<T>(stream, d_logits, states, d_weight, true);
  }
}

template <class T>
void Head<T>::add_up(Stream stream, const PackWork& pack, PackSums& sums) {
  const auto count = static_cast<std::int64_t>(rows_used_);
  kernels::pack_sums(stream, row_losses(), row_argmax_.span(0, count), pack.labels.first(rows_used_), pack.sequence,
                     sums_.data());
  device_.copy(stream, &sums, sums_.data(), sizeof(PackSums));
}

template <class T>
void Head<T>::evaluate(Stream stream, const ModelWeights<T>& weights, Matrix<const T> z, const PackWork& pack,
                       TensorGroup<T>& group, PackSums& sums) {
  gather(stream, z, pack, group);
  for (std::int64_t first = 0; first < static_cast<std::int64_t>(rows_used_); first += chunk_rows_) {
    chunk(stream, weights, pack, first, 0, false, group, {});
  }
  add_up(stream, pack, sums);
}

template <class T>
void Head<T>::forward_backward(Stream stream, const ModelWeights<T>& weights, Matrix<const T> z, const PackWork& pack,
                               double divisor, TensorGroup<T>& group, Matrix<T> dz, Matrix<float> d_weight,
                               PackSums& sums) {
  gather(stream, z, pack, group);
  for (std::int64_t first = 0; first < static_cast<std::int64_t>(rows_used_); first += chunk_rows_) {
    chunk(stream, weights, pack, first, 1 / divisor, true, group, d_weight);
  }
  const Matrix<T> whole = group.alone() ? dz : group.partial(tokens_);
  kernels::scatter_rows<T>(stream, d_states_.slice(0, static_cast<std::int64_t>(rows_used_)), pack.rows, whole);
  if (!group.alone()) {
    group.reduce(stream, tokens_, dz, false);
  }
  add_up(stream, pack, sums);
}

template class Head<float>;
template class Head<bf16>;

}  // namespace hrm::model
