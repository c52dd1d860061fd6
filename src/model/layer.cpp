#include "model/layer.hpp"

#include "kernels/elementwise.hpp"
#include "kernels/head_gate.hpp"
#include "kernels/rmsnorm.hpp"
#include "kernels/swiglu.hpp"

namespace hrm::model {
namespace {

using kernels::linear_backward_input;
using kernels::linear_backward_weight;
using kernels::linear_forward;

template <class T>
using In = Matrix<const T>;

template <class T>
void rotate(Stream stream, const Sequences& sequences, const LayerSaved<T>& saved) {
  if (sequences.rope != nullptr) {
    kernels::rope_forward<T>(stream, *sequences.rope, sequences.position_ids, saved.q());
    kernels::rope_forward<T>(stream, *sequences.rope, sequences.position_ids, saved.k());
  }
}

/// x += A(attention_input).
template <class T>
void attention_forward(Stream stream, const LayerWeights<T>& weights, const Sequences& sequences,
                       const AttentionCall<T>& attend, Matrix<T> x, const LayerSaved<T>& saved,
                       LayerScratch<T>& scratch) {
  linear_forward<T>(stream, saved.attention_input, weights.gqkv, saved.gqkv);
  rotate(stream, sequences, saved);
  attend(saved);
  kernels::head_gate_forward<T>(stream, saved.gate(), saved.attention, scratch.gated);
  linear_forward<T>(stream, scratch.gated, weights.o, x, true);
}

/// x += M(mlp_input).
template <class T>
void mlp_forward(Stream stream, const LayerWeights<T>& weights, Matrix<T> x, const LayerSaved<T>& saved,
                 LayerScratch<T>& scratch) {
  linear_forward<T>(stream, saved.mlp_input, weights.gate_up, saved.gate_up);
  kernels::swiglu_forward<T>(stream, saved.gate_up, scratch.hidden);
  linear_forward<T>(stream, scratch.hidden, weights.down, x, true);
}

/// From d = dM (tokens, D): d_gate_up, and the weight gradients of both matrices.
template <class T>
void mlp_backward(Stream stream, const LayerWeights<T>& weights, const LayerSaved<T>& saved, In<T> d,
                  const LayerGradients& gradients, LayerScratch<T>& scratch) {
  linear_backward_input<T>(stream, d, weights.down, scratch.hidden);
  kernels::swiglu_backward<T>(stream, saved.gate_up, scratch.hidden, scratch.d_gate_up, scratch.hidden);
  linear_backward_weight<T>(stream, d, scratch.hidden, gradients.down, true);
  linear_backward_weight<T>(stream, scratch.d_gate_up, saved.mlp_input, gradients.gate_up, true);
}

/// From d = dA (tokens, D): d_gqkv, and the weight gradients of both matrices. Uses d_input as scratch.
template <class T>
void attention_backward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights,
                        const Sequences& sequences, const LayerSaved<T>& saved, In<T> d,
                        const LayerGradients& gradients, LayerScratch<T>& scratch) {
  const std::int64_t width = shape.width;
  const Matrix<T> d_gate = scratch.d_gqkv.columns(0, width);
  const Matrix<T> d_q = scratch.d_gqkv.columns(width, width);
  const Matrix<T> d_k = scratch.d_gqkv.columns(2 * width, width);
  const Matrix<T> d_v = scratch.d_gqkv.columns(3 * width, width);
  const Matrix<T> d_attention = scratch.d_input;
  linear_backward_input<T>(stream, d, weights.o, d_attention);
  kernels::head_gate_backward<T>(stream, saved.gate(), saved.attention, d_attention, d_gate, d_attention,
                                 scratch.gated);
  linear_backward_weight<T>(stream, d, scratch.gated, gradients.o, true);
  kernels::attention_backward<T>(stream, sequences.layout, shape.heads, saved.q(), saved.k(), saved.v(),
                                 saved.attention, saved.lse, d_attention, d_q, d_k, d_v, scratch.attention);
  if (sequences.rope != nullptr) {
    kernels::rope_backward<T>(stream, *sequences.rope, sequences.position_ids, d_q);
    kernels::rope_backward<T>(stream, *sequences.rope, sequences.position_ids, d_k);
  }
  linear_backward_weight<T>(stream, scratch.d_gqkv, saved.attention_input, gradients.gqkv, true);
}

/// Carves matrices out of one allocation.
template <class T>
class Carver {
 public:
  explicit Carver(T* next) : next_(next) {}
  Matrix<T> matrix(std::int64_t rows, std::int64_t cols) {
    Matrix<T> taken(next_, rows, cols);
    next_ += rows * cols;
    return taken;
  }
  std::span<T> span(std::int64_t count) {
    const std::span<T> taken(next_, static_cast<std::size_t>(count));
    next_ += count;
    return taken;
  }

 private:
  T* next_;
};

}  // namespace

LayerShape LayerShape::of(const config::ModelConfig& config) {
  return {config.hidden_size,       config.num_heads,
          config.intermediate_size, static_cast<float>(config.norm_eps),
          config.norm == "post",    config.position == "rope"};
}

template <class T>
LayerWeights<T>::LayerWeights(const LayerShape& shape, bool backward)
    : gqkv(4 * shape.width, shape.width, backward),
      o(shape.width, shape.width, backward),
      gate_up(2 * shape.intermediate, shape.width, backward),
      down(shape.width, shape.intermediate, backward) {}

template <class T>
std::int64_t LayerSaved<T>::elements(const LayerShape& shape, std::int64_t tokens) {
  return tokens * (7 * shape.width + 2 * shape.intermediate);
}

template <class T>
std::int64_t LayerSaved<T>::floats(const LayerShape& shape, std::int64_t tokens) {
  return tokens * (shape.heads + 2);
}

template <class T>
LayerSaved<T> LayerSaved<T>::place(const LayerShape& shape, std::int64_t tokens, T* storage, float* statistics) {
  Carver<T> values(storage);
  Carver<float> floats_left(statistics);
  LayerSaved saved;
  saved.attention_input = values.matrix(tokens, shape.width);
  saved.gqkv = values.matrix(tokens, 4 * shape.width);
  saved.attention = values.matrix(tokens, shape.width);
  saved.mlp_input = values.matrix(tokens, shape.width);
  saved.gate_up = values.matrix(tokens, 2 * shape.intermediate);
  saved.lse = floats_left.span(shape.heads * tokens);
  saved.rstd1 = floats_left.span(tokens);
  saved.rstd2 = floats_left.span(tokens);
  return saved;
}

template <class T>
LayerScratch<T>::LayerScratch(const LayerShape& shape, std::int64_t tokens, std::int64_t longest, bool backward)
    : storage(tokens * (shape.width + shape.intermediate + (backward ? 5 * shape.width + 2 * shape.intermediate : 0)),
              MemoryPart::workspace),
      attention(longest, shape.width / shape.heads) {
  Carver<T> values(storage.data());
  gated = values.matrix(tokens, shape.width);
  hidden = values.matrix(tokens, shape.intermediate);
  if (backward) {
    d_gqkv = values.matrix(tokens, 4 * shape.width);
    d_gate_up = values.matrix(tokens, 2 * shape.intermediate);
    d_input = values.matrix(tokens, shape.width);
  }
}

template <class T>
void layer_forward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                   const AttentionCall<T>& attend, Matrix<T> x, const LayerSaved<T>& saved, LayerScratch<T>& scratch) {
  if (shape.post_norm) {
    kernels::copy<T>(stream, x, saved.attention_input);
    attention_forward(stream, weights, sequences, attend, x, saved, scratch);
    kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, saved.mlp_input, saved.rstd1);
    kernels::copy<T>(stream, saved.mlp_input, x);
    mlp_forward(stream, weights, x, saved, scratch);
    kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, x, saved.rstd2);
    return;
  }
  kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, saved.attention_input, saved.rstd1);
  attention_forward(stream, weights, sequences, attend, x, saved, scratch);
  kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, saved.mlp_input, saved.rstd2);
  mlp_forward(stream, weights, x, saved, scratch);
}

template <class T>
void layer_backward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                    const LayerSaved<T>& saved, Matrix<const T> output, Matrix<T> d, const LayerGradients& gradients,
                    LayerScratch<T>& scratch) {
  if (shape.post_norm) {
    kernels::rmsnorm_backward<T>(stream, output, saved.rstd2, d, d, false);
    mlp_backward<T>(stream, weights, saved, d, gradients, scratch);
    linear_backward_input<T>(stream, scratch.d_gate_up, weights.gate_up, d, true);
    kernels::rmsnorm_backward<T>(stream, saved.mlp_input, saved.rstd1, d, d, false);
    attention_backward<T>(stream, shape, weights, sequences, saved, d, gradients, scratch);
    linear_backward_input<T>(stream, scratch.d_gqkv, weights.gqkv, d, true);
    return;
  }
  mlp_backward<T>(stream, weights, saved, d, gradients, scratch);
  linear_backward_input<T>(stream, scratch.d_gate_up, weights.gate_up, scratch.d_input);
  kernels::rmsnorm_backward<T>(stream, saved.mlp_input, saved.rstd2, scratch.d_input, d, true);
  attention_backward<T>(stream, shape, weights, sequences, saved, d, gradients, scratch);
  linear_backward_input<T>(stream, scratch.d_gqkv, weights.gqkv, scratch.d_input);
  kernels::rmsnorm_backward<T>(stream, saved.attention_input, saved.rstd1, scratch.d_input, d, true);
}

#define HRM_INSTANTIATE(T)                                                                                    \
  template struct LayerWeights<T>;                                                                            \
  template struct LayerSaved<T>;                                                                              \
  template struct LayerScratch<T>;                                                                            \
  template void layer_forward<T>(Stream, const LayerShape&, const LayerWeights<T>&, const Sequences&,         \
                                 const AttentionCall<T>&, Matrix<T>, const LayerSaved<T>&, LayerScratch<T>&); \
  template void layer_backward<T>(Stream, const LayerShape&, const LayerWeights<T>&, const Sequences&,        \
                                  const LayerSaved<T>&, Matrix<const T>, Matrix<T>, const LayerGradients&,    \
                                  LayerScratch<T>&);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::model
