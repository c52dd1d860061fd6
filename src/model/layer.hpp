#pragma once
// One layer: x <- x + A(N(x)); x <- x + M(N(x)) (pre norm), or x <- N(x + A(x)); x <- N(x + M(x)) (post norm)
// (golden A.5, A.7, A.8), forward and backward. T is the compute type.
#include <cstdint>
#include <functional>
#include <span>

#include "base/buffer.hpp"
#include "base/matrix.hpp"
#include "config/run_config.hpp"
#include "kernels/attention.hpp"
#include "kernels/matmul.hpp"
#include "kernels/rope.hpp"

namespace hrm::model {

/// Sizes that every layer shares.
struct LayerShape {
  std::int64_t width;         ///< D
  std::int64_t heads;         ///< Hn
  std::int64_t intermediate;  ///< F
  float norm_eps;
  bool post_norm;
  bool rope;

  static LayerShape of(const config::ModelConfig& config);
};

/// Compute copies of one layer's matrices.
template <class T>
struct LayerWeights {
  kernels::LinearWeights<T> gqkv;     // (4D, D)
  kernels::LinearWeights<T> o;        // (D, D)
  kernels::LinearWeights<T> gate_up;  // (2F, D)
  kernels::LinearWeights<T> down;     // (D, F)

  LayerWeights(const LayerShape& shape, bool backward);
};

/// Float32 gradient sums of one layer's matrices; the backward pass adds to them.
struct LayerGradients {
  Matrix<float> gqkv;
  Matrix<float> o;
  Matrix<float> gate_up;
  Matrix<float> down;
};

/// What the backward pass of one layer call needs. The norm's input is not kept: its backward needs output and rstd
/// only.
template <class T>
struct LayerSaved {
  Matrix<T> attention_input;  // (tokens, D): input of gqkv
  Matrix<T> gqkv;             // (tokens, 4D): gate | q | k | v, q and k rotated
  Matrix<T> attention;        // (tokens, D): before the gate
  Matrix<T> mlp_input;        // (tokens, D): input of gate_up
  Matrix<T> gate_up;          // (tokens, 2F)
  std::span<float> lse;       // (heads, tokens)
  std::span<float> rstd1;     // (tokens): pre: norm before attention; post: norm after attention
  std::span<float> rstd2;     // (tokens): pre: norm before the MLP; post: norm after the MLP

  Matrix<T> gate() const { return gqkv.columns(0, width()); }
  Matrix<T> q() const { return gqkv.columns(width(), width()); }
  Matrix<T> k() const { return gqkv.columns(2 * width(), width()); }
  Matrix<T> v() const { return gqkv.columns(3 * width(), width()); }
  std::int64_t width() const { return attention_input.cols; }

  /// Elements of T and of float that one record of `tokens` rows takes.
  static std::int64_t elements(const LayerShape& shape, std::int64_t tokens);
  static std::int64_t floats(const LayerShape& shape, std::int64_t tokens);
  /// Lays the record out in `storage` and `statistics`.
  static LayerSaved place(const LayerShape& shape, std::int64_t tokens, T* storage, float* statistics);
};

/// Scratch of the layer that runs, shared by all layers; allocated once.
template <class T>
struct LayerScratch {
  LayerScratch(const LayerShape& shape, std::int64_t tokens, std::int64_t longest, bool backward);
  Buffer<T> storage;
  Matrix<T> gated;      // (tokens, D): gated attention; gradients of it
  Matrix<T> hidden;     // (tokens, F): silu(g) p; gradient of it
  Matrix<T> d_gqkv;     // (tokens, 4D), backward only
  Matrix<T> d_gate_up;  // (tokens, 2F), backward only
  Matrix<T> d_input;    // (tokens, D), backward only
  kernels::AttentionWorkspace attention;
};

/// The pack as attention and rope see it.
struct Sequences {
  kernels::SequenceLayout layout;
  std::span<const std::int32_t> position_ids;
  const kernels::RopeTable* rope = nullptr;  ///< null: no position embedding
};

/// Softmax attention of one layer call: reads q, k, v of the record and writes its `attention`. Training attends over
/// the packed sequences, generation over its cache.
template <class T>
using AttentionCall = std::function<void(const LayerSaved<T>& saved)>;

/// x (tokens, D) in place; fills `saved`.
template <class T>
void layer_forward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                   const AttentionCall<T>& attend, Matrix<T> x, const LayerSaved<T>& saved, LayerScratch<T>& scratch);

/// d (tokens, D) in place: gradient with respect to the layer's output becomes that of its input; adds to `gradients`.
/// `output` is the layer's output, needed by post norm only.
template <class T>
void layer_backward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                    const LayerSaved<T>& saved, Matrix<const T> output, Matrix<T> d, const LayerGradients& gradients,
                    LayerScratch<T>& scratch);

}  // namespace hrm::model
