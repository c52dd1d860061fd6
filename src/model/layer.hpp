#pragma once
// One layer: x <- x + A(N(x)); x <- x + M(N(x)) (pre norm), or x <- N(x + A(x)); x <- N(x + M(x)) (post norm)
// (golden A.5, A.7, A.8), forward and backward. T is the compute type.
#include <array>
#include <cstdint>
#include <functional>
#include <span>

#include "base/buffer.hpp"
#include "base/matrix.hpp"
#include "config/run_config.hpp"
#include "kernels/attention.hpp"
#include "kernels/fused_rmsnorm.hpp"
#include "kernels/matmul.hpp"
#include "kernels/rope.hpp"
#include "model/tensor_group.hpp"

namespace hrm::model {

/// Sizes that every layer shares: heads and intermediate columns are those of this rank of the tensor-parallel group.
struct LayerShape {
  std::int64_t width;         ///< D
  std::int64_t heads;         ///< Hn / group size
  std::int64_t head_dim;      ///< d
  std::int64_t intermediate;  ///< F / group size
  float norm_eps;
  bool post_norm;
  bool rope;

  /// A: heads * d, the columns of q, k and v; D in a group of one.
  std::int64_t attention_width() const { return heads * head_dim; }
  static LayerShape of(const config::ModelConfig& config, TensorPlace place);
};

kernels::MaskType mask_of(const config::ModelConfig& config);

/// Compute copies of one layer's matrices.
template <class T>
struct LayerWeights {
  kernels::LinearWeights<T> gqkv;     // (4A, D)
  kernels::LinearWeights<T> o;        // (D, A)
  kernels::LinearWeights<T> gate_up;  // (2F, D)
  kernels::LinearWeights<T> down;     // (D, F)

  LayerWeights(const LayerShape& shape, bool backward, Device& device);
};

/// Makes every matrix product of a layer for `tokens` rows, so that none is made in a step.
template <class T>
void prepare_layer_products(const LayerShape& shape, std::int64_t tokens, bool backward,
                            DeviceType device = DeviceType::cpu);

/// Float32 gradient sums of one layer's matrices; the backward pass adds to them.
struct LayerGradients {
  Matrix<float> gqkv;
  Matrix<float> o;
  Matrix<float> gate_up;
  Matrix<float> down;
};

/// What the backward pass of one layer call needs. The norm's input is not kept: its backward needs output and rstd
/// only. Own rows are this rank's share of all tokens; the inputs of gqkv and gate_up are gathered again where needed.
template <class T>
struct LayerSaved {
  Matrix<T> attention_input;  // (own, D): input of gqkv
  Matrix<T> gqkv;             // (tokens, 4A): gate | q | k | v, q and k rotated
  Matrix<T> attention;        // (tokens, A): before the gate
  Matrix<T> mlp_input;        // (own, D): input of gate_up
  Matrix<T> gate_up;          // (tokens, 2F)
  std::span<float> lse;       // (heads, tokens)
  std::span<float> rstd1;     // (own): pre: norm before attention; post: norm after attention
  std::span<float> rstd2;     // (own): pre: norm before the MLP; post: norm after the MLP

  Matrix<T> gate() const { return gqkv.columns(0, width()); }
  Matrix<T> q() const { return gqkv.columns(width(), width()); }
  Matrix<T> k() const { return gqkv.columns(2 * width(), width()); }
  Matrix<T> v() const { return gqkv.columns(3 * width(), width()); }
  Matrix<T> q_and_k() const { return gqkv.columns(width(), 2 * width()); }
  std::int64_t width() const { return attention.cols; }
  std::int64_t tokens() const { return gqkv.rows; }

  /// Elements of T and of float that one record takes.
  static std::int64_t elements(const LayerShape& shape, const RowShare& rows);
  static std::int64_t floats(const LayerShape& shape, const RowShare& rows);
  /// Lays the record out in `storage` and `statistics`.
  static LayerSaved place(const LayerShape& shape, const RowShare& rows, T* storage, float* statistics);
};

/// Scratch and group of the layer that runs, shared by all layers; allocated once.
template <class T>
struct LayerScratch {
  LayerScratch(const LayerShape& shape, const TensorParallel& parallel, std::int64_t tokens, std::int64_t longest,
               bool backward, Device& device = host_device());
  /// Elements of T of `storage`.
  static std::int64_t elements(const LayerShape& shape, const RowShare& rows, bool backward);
  TensorGroup<T> group;
  Buffer<T> storage;
  Matrix<T> gated;        // (tokens, A): gated attention; gradients of it
  Matrix<T> hidden;       // (tokens, F): silu(g) p; gradient of it
  Matrix<T> d_gqkv;       // (tokens, 4A), backward only
  Matrix<T> d_gate_up;    // (tokens, 2F), backward only
  Matrix<T> d_input;      // (own, D), backward only
  Matrix<T> d_attention;  // (tokens, A), backward only; the same memory as d_input
  kernels::AttentionWorkspace attention;
};

/// The pack as attention and rope see it.
struct Sequences {
  kernels::SequenceLayout layout;
  std::span<const std::int32_t> position_ids;
  kernels::RopeAngles rope;  ///< null pointers: no position embedding
};

/// Softmax attention of one layer call: reads q, k, v of the record and writes its `attention`. Training attends over
/// the packed sequences, generation over its cache.
template <class T>
using AttentionCall = std::function<void(const LayerSaved<T>& saved)>;

/// x (own, D) in place; fills `saved`. `normed`: attention_input and rstd1 are filled in already (pre norm).
template <class T>
void layer_forward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                   const AttentionCall<T>& attend, Matrix<T> x, const LayerSaved<T>& saved, LayerScratch<T>& scratch,
                   bool normed);

/// What a gradient is added to and copied to once it is done.
template <class T>
class Merge {
 public:
  void add_to(Matrix<T> sum) { sums_.at(added_++) = sum; }
  void copy_to(Matrix<T> target) { copies_.at(copied_++) = target; }
  std::span<const Matrix<T>> sums() const { return {sums_.data(), added_}; }
  std::span<const Matrix<T>> copies() const { return {copies_.data(), copied_}; }

 private:
  std::array<Matrix<T>, kernels::most_merged> sums_;
  std::array<Matrix<T>, kernels::most_merged> copies_;
  std::size_t added_ = 0;
  std::size_t copied_ = 0;
};

/// d (own, D) in place: gradient with respect to the layer's output becomes that of its input, which is then merged
/// into `merge`; adds to `gradients`. `output` (own, D) is the layer's output, needed by post norm only. `between` is
/// called between MLP and attention.
template <class T>
void layer_backward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                    const LayerSaved<T>& saved, Matrix<const T> output, Matrix<T> d, const LayerGradients& gradients,
                    const std::function<void()>& between, const Merge<T>& merge, LayerScratch<T>& scratch);

}  // namespace hrm::model
