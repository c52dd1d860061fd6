#include "model/weights.hpp"

#include <type_traits>

#include "base/error.hpp"
#include "kernels/elementwise.hpp"
#include "model/parameters.hpp"

namespace hrm::model {
namespace {

constexpr int first_layer_row = 2;  // behind embed_tokens and lm_head
constexpr int rows_of_layer = 4;

/// Row `row` in values that begin at flat element `first`.
template <class V>
std::span<const V> part(std::span<const V> values, const Parameter& row, std::int64_t first) {
  return values.subspan(static_cast<std::size_t>(row.offset - first), static_cast<std::size_t>(row.count()));
}

}  // namespace

template <class T>
ModelWeights<T>::ModelWeights(const config::ModelConfig& config, TensorPlace place, bool backward, Device& device)
    : device_(device),
      table_(parameter_table(config, place)),
      shape_(LayerShape::of(config, place)),
      head_(config.vocab_size / place.size, config.hidden_size, backward, device),
      embedding_(head_.out() * head_.in(), MemoryPart::weights, device.memory()),
      embed_scale_(static_cast<float>(config.embed_scale)),
      first_token_(static_cast<std::int32_t>(place.rank * head_.out())) {
  int row = first_layer_row;
  for (std::size_t s = 0; s < stack_names(config).size(); ++s) {
    stacks_.emplace_back();
    rows_.emplace_back();
    for (std::int64_t layer = 0; layer < config.stack_layers(); ++layer, row += rows_of_layer) {
      stacks_.back().emplace_back(shape_, backward, device);
      rows_.back().push_back({row, row + 1, row + 2, row + 3, table_.bucket_of(row)});
    }
  }
  if (config.architecture != "transformer") {
    zl_init_ = Buffer<T>(config.hidden_size, MemoryPart::weights, device.memory());
  }
}

template <class T>
kernels::LinearWeights<T>& ModelWeights<T>::layer_matrix(int row) {
  const int index = row - first_layer_row;
  const auto layers = static_cast<int>(stacks_.front().size());
  const int layer = index / rows_of_layer;
  LayerWeights<T>& weights =
      stacks_[static_cast<std::size_t>(layer / layers)][static_cast<std::size_t>(layer % layers)];
  switch (index % rows_of_layer) {
    case 0:
      return weights.gqkv;
    case 1:
      return weights.o;
    case 2:
      return weights.gate_up;
    default:
      return weights.down;
  }
}

template <class T>
template <class V>
void ModelWeights<T>::load_row(Stream stream, int row, std::span<const V> values) {
  if (row != embedding_row()) {
    (row == head_row() ? head_ : layer_matrix(row)).load(stream, values);
  } else if constexpr (std::is_same_v<V, T>) {
    kernels::copy<T>(stream, {values.data(), head_.out(), head_.in()},
                     Matrix<T>(embedding_.data(), head_.out(), head_.in()));
  } else {
    kernels::cast<T>(stream, values, embedding_.span());
  }
}

template <class T>
void ModelWeights<T>::load(Stream stream, std::span<const float> flat, std::span<const float> zl_init) {
  ensure(std::ssize(flat) >= table_.flat_size, "flat array of weights is too short");
  for (int row = 0; row < table_.buckets.back().last_row; ++row) {
    const std::span<const float> values = part(flat, table_.rows[static_cast<std::size_t>(row)], 0);
    if (device_.is_host()) {
      load_row(stream, row, values);
      continue;
    }
    Buffer<float> sent(std::ssize(values), MemoryPart::workspace, device_.memory());
    device_.copy(stream, sent.data(), values.data(), values.size_bytes());
    load_row(stream, row, std::span<const float>(sent.span()));
    device_.wait(stream);
  }
  load_constant(stream, zl_init);
}

template <class T>
void ModelWeights<T>::load_bucket(Stream stream, int bucket, std::span<const std::byte> values) {
  const Bucket& rows = table_.buckets.at(static_cast<std::size_t>(bucket));
  const auto count = static_cast<std::size_t>(rows.range.count());
  ensure(values.size() == count * sizeof(T), "values of a bucket have the wrong size");
  const std::span<const T> typed(reinterpret_cast<const T*>(values.data()), count);
  for (int row = rows.first_row; row < rows.last_row; ++row) {
    load_row(stream, row, part(typed, table_.rows[static_cast<std::size_t>(row)], rows.range.first));
  }
}

template <class T>
void ModelWeights<T>::load_constant(Stream stream, std::span<const float> zl_init) {
  ensure(std::ssize(zl_init) == zl_init_.size(), "zL_init has the wrong size");
  std::vector<T> rounded(zl_init.size());
  kernels::cast<T>(Stream{}, zl_init, rounded);
  device_.copy(stream, zl_init_.data(), rounded.data(), zl_init_.bytes());
  device_.wait(stream);
}

template <class T>
std::vector<std::span<const std::byte>> ModelWeights<T>::memory(int bucket) const {
  if (bucket == static_cast<int>(table_.buckets.size())) {
    return {std::as_bytes(zl_init_.span())};
  }
  const Bucket& rows = table_.buckets.at(static_cast<std::size_t>(bucket));
  std::vector<std::span<const std::byte>> all;
  for (int row = rows.first_row; row < rows.last_row; ++row) {
    const auto more = row == embedding_row() ? std::vector{std::as_bytes(embedding_.span())}
                      : row == head_row()    ? head_.memory()
                                             : layer_matrix(row).memory();
    all.insert(all.end(), more.begin(), more.end());
  }
  return all;
}

template class ModelWeights<float>;
template class ModelWeights<bf16>;

}  // namespace hrm::model
