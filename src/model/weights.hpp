#pragma once
// The model's weights in compute type, made from the float32 masters once per step.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "base/parameter.hpp"
#include "config/run_config.hpp"
#include "kernels/matmul.hpp"
#include "model/layer.hpp"

namespace hrm::model {

/// Rows of the table that one layer of one stack consists of, and the bucket that they are.
struct LayerRows {
  int gqkv;
  int o;
  int gate_up;
  int down;
  int bucket;
};

template <class T>
class ModelWeights {
 public:
  /// The slices of `place`. `backward`: also keep the orientation that input gradients need.
  ModelWeights(const config::ModelConfig& config, TensorPlace place, bool backward, Device& device = host_device());

  /// Casts and reorders every tensor of `flat` (layout: table()) and the constant; both are host memory, and not needed
  /// after the call.
  void load(Stream stream, std::span<const float> flat, std::span<const float> zl_init);
  /// The tensors of one bucket in compute type: bucket.range.count() elements of T in memory of the device, aligned
  /// for T.
  void load_bucket(Stream stream, int bucket, std::span<const std::byte> values);
  /// `zl_init` is host memory; empty for a transformer.
  void load_constant(Stream stream, std::span<const float> zl_init);

  /// What forward and backward read of a bucket, in the device's memory, in layouts of its own; of the bucket behind
  /// the last one: the constant.
  std::vector<std::span<const std::byte>> memory(int bucket) const;

  const ParameterTable& table() const { return table_; }
  const LayerShape& shape() const { return shape_; }
  const std::vector<LayerWeights<T>>& stack(int s) const { return stacks_[static_cast<std::size_t>(s)]; }
  const std::vector<LayerRows>& stack_rows(int s) const { return rows_[static_cast<std::size_t>(s)]; }
  int stacks() const { return static_cast<int>(stacks_.size()); }
  const kernels::LinearWeights<T>& head() const { return head_; }
  /// (V / group size, D), of tokens from first_token() on; so is the head.
  Matrix<const T> embedding() const { return {embedding_.data(), head_.out(), head_.in()}; }
  std::int32_t first_token() const { return first_token_; }
  std::span<const T> zl_init() const { return zl_init_.span(); }
  float embedding_scale() const { return embed_scale_; }
  int embedding_row() const { return 0; }
  int head_row() const { return 1; }
  int embedding_bucket() const { return 0; }
  int head_bucket() const { return 1; }

 private:
  template <class V>
  void load_row(Stream stream, int row, std::span<const V> values);
  kernels::LinearWeights<T>& layer_matrix(int row);
  const kernels::LinearWeights<T>& layer_matrix(int row) const {
    return const_cast<ModelWeights&>(*this).layer_matrix(row);  // which changes nothing itself
  }

  Device& device_;
  ParameterTable table_;
  LayerShape shape_;
  std::vector<std::vector<LayerWeights<T>>> stacks_;
  std::vector<std::vector<LayerRows>> rows_;
  kernels::LinearWeights<T> head_;
  Buffer<T> embedding_;  // (V / group size, D)
  Buffer<T> zl_init_;    // (D)
  float embed_scale_;
  std::int32_t first_token_;
};

}  // namespace hrm::model
