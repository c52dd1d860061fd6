#include "model/layer.hpp"

#include <algorithm>

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
  if (sequences.rope.cos != nullptr) {
    kernels::rope_forward<T>(stream, sequences.rope, sequences.position_ids, saved.q_and_k());
  }
}

/// y (own, D) += x wᵀ, where each rank has its own columns of x (tokens, in) and of w.
template <class T>
void add_row_parallel(Stream stream, In<T> x, const kernels::LinearWeights<T>& w, Matrix<T> y, TensorGroup<T>& group) {
  if (group.alone()) {
    linear_forward<T>(stream, x, w, y, true);
    return;
  }
  linear_forward<T>(stream, x, w, group.partial(x.rows));
  group.reduce(stream, x.rows, y, true);
}

/// dx (own, D) (+)= dy w, where each rank has its own columns of dy (tokens, out) and rows of w.
template <class T>
void input_gradient(Stream stream, In<T> dy, const kernels::LinearWeights<T>& w, Matrix<T> dx, bool accumulate,
                    TensorGroup<T>& group) {
  if (group.alone()) {
    linear_backward_input<T>(stream, dy, w, dx, accumulate);
    return;
  }
  linear_backward_input<T>(stream, dy, w, group.partial(dy.rows));
  group.reduce(stream, dy.rows, dx, accumulate);
}

/// x += A(attention_input).
template <class T>
void attention_forward(Stream stream, const LayerWeights<T>& weights, const Sequences& sequences,
                       const AttentionCall<T>& attend, Matrix<T> x, const LayerSaved<T>& saved,
                       LayerScratch<T>& scratch) {
  linear_forward<T>(stream, scratch.group.gather(stream, saved.attention_input, saved.tokens()), weights.gqkv,
                    saved.gqkv);
  rotate(stream, sequences, saved);
  attend(saved);
  kernels::head_gate_forward<T>(stream, saved.gate(), saved.attention, scratch.gated);
  add_row_parallel<T>(stream, scratch.gated, weights.o, x, scratch.group);
}

/// x += M(mlp_input).
template <class T>
void mlp_forward(Stream stream, const LayerWeights<T>& weights, Matrix<T> x, const LayerSaved<T>& saved,
                 LayerScratch<T>& scratch) {
  linear_forward<T>(stream, scratch.group.gather(stream, saved.mlp_input, saved.tokens()), weights.gate_up,
                    saved.gate_up);
  kernels::swiglu_forward<T>(stream, saved.gate_up, scratch.hidden);
  add_row_parallel<T>(stream, scratch.hidden, weights.down, x, scratch.group);
}

/// From dM (own, D): d_gate_up, and the weight gradients of both matrices.
template <class T>
void mlp_backward(Stream stream, const LayerWeights<T>& weights, const LayerSaved<T>& saved, In<T> d_own,
                  const LayerGradients& gradients, LayerScratch<T>& scratch) {
  const In<T> d = scratch.group.gather(stream, d_own, saved.tokens());
  linear_backward_input<T>(stream, d, weights.down, scratch.hidden);
  kernels::swiglu_backward<T>(stream, saved.gate_up, scratch.hidden, scratch.d_gate_up, scratch.hidden);
  linear_backward_weight<T>(stream, d, scratch.hidden, gradients.down, true);
  const In<T> input = scratch.group.gather(stream, saved.mlp_input, saved.tokens());
  linear_backward_weight<T>(stream, scratch.d_gate_up, input, gradients.gate_up, true);
}

/// From dA (own, D): d_gqkv, and the weight gradients of both matrices. Uses d_attention as scratch.
template <class T>
void attention_backward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights,
                        const Sequences& sequences, const LayerSaved<T>& saved, In<T> d_own,
                        const LayerGradients& gradients, LayerScratch<T>& scratch) {
  const std::int64_t width = shape.attention_width();
  const Matrix<T> d_gate = scratch.d_gqkv.columns(0, width);
  const Matrix<T> d_q = scratch.d_gqkv.columns(width, width);
  const Matrix<T> d_k = scratch.d_gqkv.columns(2 * width, width);
  const Matrix<T> d_v = scratch.d_gqkv.columns(3 * width, width);
  const Matrix<T> d_attention = scratch.d_attention;
  const In<T> d = scratch.group.gather(stream, d_own, saved.tokens());
  linear_backward_input<T>(stream, d, weights.o, d_attention);
  kernels::head_gate_backward<T>(stream, saved.gate(), saved.attention, d_attention, d_gate, d_attention,
                                 scratch.gated);
  linear_backward_weight<T>(stream, d, scratch.gated, gradients.o, true);
  kernels::attention_backward<T>(stream, sequences.layout, shape.heads, saved.q(), saved.k(), saved.v(),
                                 saved.attention, saved.lse, d_attention, d_q, d_k, d_v, scratch.attention);
  if (sequences.rope.cos != nullptr) {
    const Matrix<T> d_q_and_k = scratch.d_gqkv.columns(width, 2 * width);
    kernels::rope_backward<T>(stream, sequences.rope, sequences.position_ids, d_q_and_k);
  }
  const In<T> input = scratch.group.gather(stream, saved.attention_input, saved.tokens());
  linear_backward_weight<T>(stream, scratch.d_gqkv, input, gradients.gqkv, true);
}

/// Of the memory that d_input and d_attention share.
std::int64_t input_elements(const LayerShape& shape, const RowShare& rows) {
  return std::max(rows.own * shape.width, rows.all * shape.attention_width());
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

LayerShape LayerShape::of(const config::ModelConfig& config, TensorPlace place) {
  return {.width = config.hidden_size,
          .heads = config.num_heads / place.size,
          .head_dim = config.head_dim(),
          .intermediate = config.intermediate_size / place.size,
          .norm_eps = static_cast<float>(config.norm_eps),
          .post_norm = config.norm == "post",
          .rope = config.position == "rope"};
}

kernels::MaskType mask_of(const config::ModelConfig& config) {
  return config.attention == "causal" ? kernels::MaskType::causal : kernels::MaskType::prefixlm;
}

template <class T>
LayerWeights<T>::LayerWeights(const LayerShape& shape, bool backward, Device& device)
    : gqkv(4 * shape.attention_width(), shape.width, backward, device),
      o(shape.width, shape.attention_width(), backward, device),
      gate_up(2 * shape.intermediate, shape.width, backward, device),
      down(shape.width, shape.intermediate, backward, device) {}

template <class T>
void prepare_layer_products(const LayerShape& shape, std::int64_t tokens, bool backward, DeviceType device) {
  kernels::prepare_linear<T>(tokens, 4 * shape.attention_width(), shape.width, backward, device);
  kernels::prepare_linear<T>(tokens, shape.width, shape.attention_width(), backward, device);
  kernels::prepare_linear<T>(tokens, 2 * shape.intermediate, shape.width, backward, device);
  kernels::prepare_linear<T>(tokens, shape.width, shape.intermediate, backward, device);
}

template <class T>
std::int64_t LayerSaved<T>::elements(const LayerShape& shape, const RowShare& rows) {
  return rows.own * 2 * shape.width + rows.all * (5 * shape.attention_width() + 2 * shape.intermediate);
}

template <class T>
std::int64_t LayerSaved<T>::floats(const LayerShape& shape, const RowShare& rows) {
  return rows.own * 2 + rows.all * shape.heads;
}

template <class T>
LayerSaved<T> LayerSaved<T>::place(const LayerShape& shape, const RowShare& rows, T* storage, float* statistics) {
  Carver<T> values(storage);
  Carver<float> floats_left(statistics);
  LayerSaved saved;
  saved.attention_input = values.matrix(rows.own, shape.width);
  saved.gqkv = values.matrix(rows.all, 4 * shape.attention_width());
  saved.attention = values.matrix(rows.all, shape.attention_width());
  saved.mlp_input = values.matrix(rows.own, shape.width);
  saved.gate_up = values.matrix(rows.all, 2 * shape.intermediate);
  saved.lse = floats_left.span(shape.heads * rows.all);
  saved.rstd1 = floats_left.span(rows.own);
  saved.rstd2 = floats_left.span(rows.own);
  return saved;
}

template <class T>
std::int64_t LayerScratch<T>::elements(const LayerShape& shape, const RowShare& rows, bool backward) {
  const std::int64_t width = shape.attention_width();
  const std::int64_t forward = rows.all * (width + shape.intermediate);
  return !backward ? forward : forward + rows.all * (4 * width + 2 * shape.intermediate) + input_elements(shape, rows);
}

template <class T>
LayerScratch<T>::LayerScratch(const LayerShape& shape, const TensorParallel& parallel, std::int64_t tokens,
                              std::int64_t longest, bool backward, Device& device)
    : group(parallel, tokens, shape.width, device),
      attention(longest, shape.head_dim, {shape.heads, tokens, backward}, device) {
  const RowShare rows = group.share(tokens);
  const std::int64_t width = shape.attention_width();
  storage = Buffer<T>(elements(shape, rows, backward), MemoryPart::workspace, device.memory());
  Carver<T> values(storage.data());
  gated = values.matrix(tokens, width);
  hidden = values.matrix(tokens, shape.intermediate);
  if (backward) {
    d_gqkv = values.matrix(tokens, 4 * width);
    d_gate_up = values.matrix(tokens, 2 * shape.intermediate);
    T* shared = values.span(input_elements(shape, rows)).data();
    d_input = {shared, rows.own, shape.width};
    d_attention = {shared, tokens, width};
  }
}

template <class T>
void layer_forward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                   const AttentionCall<T>& attend, Matrix<T> x, const LayerSaved<T>& saved, LayerScratch<T>& scratch,
                   bool normed) {
  if (shape.post_norm) {
    kernels::copy<T>(stream, x, saved.attention_input);
    attention_forward(stream, weights, sequences, attend, x, saved, scratch);
    kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, saved.mlp_input, saved.rstd1);
    kernels::copy<T>(stream, saved.mlp_input, x);
    mlp_forward(stream, weights, x, saved, scratch);
    kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, x, saved.rstd2);
    return;
  }
  if (!normed) {
    kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, saved.attention_input, saved.rstd1);
  }
  attention_forward(stream, weights, sequences, attend, x, saved, scratch);
  kernels::rmsnorm_forward<T>(stream, x, shape.norm_eps, saved.mlp_input, saved.rstd2);
  mlp_forward(stream, weights, x, saved, scratch);
}

template <class T>
void layer_backward(Stream stream, const LayerShape& shape, const LayerWeights<T>& weights, const Sequences& sequences,
                    const LayerSaved<T>& saved, Matrix<const T> output, Matrix<T> d, const LayerGradients& gradients,
                    const std::function<void()>& between, const Merge<T>& merge, LayerScratch<T>& scratch) {
  if (shape.post_norm) {
    kernels::rmsnorm_backward<T>(stream, output, saved.rstd2, d, d, false);
    mlp_backward<T>(stream, weights, saved, d, gradients, scratch);
    input_gradient<T>(stream, scratch.d_gate_up, weights.gate_up, d, true, scratch.group);
    between();
    kernels::rmsnorm_backward<T>(stream, saved.mlp_input, saved.rstd1, d, d, false);
    attention_backward<T>(stream, shape, weights, sequences, saved, d, gradients, scratch);
    input_gradient<T>(stream, scratch.d_gqkv, weights.gqkv, d, true, scratch.group);
    for (const Matrix<T>& sum : merge.sums()) {
      kernels::add<T>(stream, sum, d, sum);
    }
    for (const Matrix<T>& copy : merge.copies()) {
      kernels::copy<T>(stream, d, copy);
    }
    return;
  }
  mlp_backward<T>(stream, weights, saved, d, gradients, scratch);
  input_gradient<T>(stream, scratch.d_gate_up, weights.gate_up, scratch.d_input, false, scratch.group);
  kernels::rmsnorm_backward<T>(stream, saved.mlp_input, saved.rstd2, scratch.d_input, d, true);
  between();
  attention_backward<T>(stream, shape, weights, sequences, saved, d, gradients, scratch);
  input_gradient<T>(stream, scratch.d_gqkv, weights.gqkv, scratch.d_input, false, scratch.group);
  kernels::rmsnorm_backward_merge<T>(stream, saved.attention_input, saved.rstd1, scratch.d_input, d, true, merge.sums(),
                                     merge.copies());
}

#define HRM_INSTANTIATE(T)                                                                                          \
  template struct LayerWeights<T>;                                                                                  \
  template void prepare_layer_products<T>(const LayerShape&, std::int64_t, bool, DeviceType);                       \
  template struct LayerSaved<T>;                                                                                    \
  template struct LayerScratch<T>;                                                                                  \
  template void layer_forward<T>(Stream, const LayerShape&, const LayerWeights<T>&, const Sequences&,               \
                                 const AttentionCall<T>&, Matrix<T>, const LayerSaved<T>&, LayerScratch<T>&, bool); \
  template void layer_backward<T>(Stream, const LayerShape&, const LayerWeights<T>&, const Sequences&,              \
                                  const LayerSaved<T>&, Matrix<const T>, Matrix<T>, const LayerGradients&,          \
                                  const std::function<void()>&, const Merge<T>&, LayerScratch<T>&);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::model
