#include "model/stack.hpp"

#include "kernels/elementwise.hpp"
#include "kernels/rmsnorm.hpp"

namespace hrm::model {

template <class T>
void stack_forward(Stream stream, const ModelWeights<T>& weights, int stack, const Sequences& sequences,
                   const std::function<AttentionCall<T>(int layer)>& attend, WeightFeed* feed, Matrix<T> x,
                   const StackSaved<T>& saved, LayerScratch<T>& scratch, Matrix<T> output, bool normed) {
  const auto& layers = weights.stack(stack);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (feed != nullptr) {
      feed->need(weights.stack_rows(stack)[i].bucket);
    }
    const LayerSaved<T>& record = saved.layers[saved.layers.size() == 1 ? 0 : i];
    layer_forward<T>(stream, weights.shape(), layers[i], sequences, attend(static_cast<int>(i)), x, record, scratch,
                     normed && i == 0);
    if (feed != nullptr) {
      feed->poll();
    }
  }
  if (weights.shape().post_norm) {
    kernels::copy<T>(stream, x, output);
  } else {
    kernels::rmsnorm_forward<T>(stream, x, weights.shape().norm_eps, output, saved.rstd);
  }
}

template <class T>
void stack_backward(Stream stream, const ModelWeights<T>& weights, int stack, const Sequences& sequences,
                    const StackSaved<T>& saved, LayerScratch<T>& scratch, Matrix<const T> output, Matrix<T> d,
                    const Merge<T>& merge, const BackwardHooks& hooks) {
  const auto& layers = weights.stack(stack);
  if (!weights.shape().post_norm) {
    kernels::rmsnorm_backward<T>(stream, output, saved.rstd, d, d, false);
  }
  for (std::size_t i = layers.size(); i-- > 0;) {
    const bool last = i + 1 == layers.size();
    const Matrix<const T> layer_output = last ? output : Matrix<const T>(saved.layers[i + 1].attention_input);
    layer_backward<T>(stream, weights.shape(), layers[i], sequences, saved.layers[i], layer_output, d,
                      hooks.gradients(static_cast<int>(i)), hooks.between, i == 0 ? merge : Merge<T>{}, scratch);
    hooks.finished(static_cast<int>(i));
  }
}

#define HRM_INSTANTIATE(T)                                                                                     \
  template void stack_forward<T>(Stream, const ModelWeights<T>&, int, const Sequences&,                        \
                                 const std::function<AttentionCall<T>(int)>&, WeightFeed*, Matrix<T>,          \
                                 const StackSaved<T>&, LayerScratch<T>&, Matrix<T>, bool);                     \
  template void stack_backward<T>(Stream, const ModelWeights<T>&, int, const Sequences&, const StackSaved<T>&, \
                                  LayerScratch<T>&, Matrix<const T>, Matrix<T>, const Merge<T>&,               \
                                  const BackwardHooks&);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::model
