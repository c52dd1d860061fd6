#pragma once
// The model's weights in compute type, made from the float32 masters once per step.
#include <cstdint>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "base/parameter.hpp"
#include "config/run_config.hpp"
#include "kernels/matmul.hpp"
#include "model/layer.hpp"

namespace hrm::model {

/// Rows of the table that one layer of one stack consists of.
struct LayerRows {
  int gqkv;
  int o;
  int gate_up;
  int down;
};

template <class T>
class ModelWeights {
 public:
  /// `backward`: also keep the orientation that input gradients need.
  ModelWeights(const config::ModelConfig& config, bool backward);

  /// Casts and reorders every matrix of `flat` (layout: table()). The embedding is read from `flat` itself, which must
  /// outlive this object or the next load. `zl_init` is empty for a transformer.
  void load(Stream stream, std::span<const float> flat, std::span<const float> zl_init);

  const ParameterTable& table() const { return table_; }
  const LayerShape& shape() const { return shape_; }
  const std::vector<LayerWeights<T>>& stack(int s) const { return stacks_[static_cast<std::size_t>(s)]; }
  const std::vector<LayerRows>& stack_rows(int s) const { return rows_[static_cast<std::size_t>(s)]; }
  int stacks() const { return static_cast<int>(stacks_.size()); }
  const kernels::LinearWeights<T>& head() const { return head_; }
  Matrix<const float> embedding() const { return embedding_; }
  std::span<const T> zl_init() const { return zl_init_.span(); }
  float embedding_scale() const { return embed_scale_; }
  int embedding_row() const { return 0; }
  int head_row() const { return 1; }

 private:
  ParameterTable table_;
  LayerShape shape_;
  std::vector<std::vector<LayerWeights<T>>> stacks_;
  std::vector<std::vector<LayerRows>> rows_;
  kernels::LinearWeights<T> head_;
  Matrix<const float> embedding_;  // (V, D), in the caller's flat array
  Buffer<T> zl_init_;              // (D)
  float embed_scale_;
};

}  // namespace hrm::model
