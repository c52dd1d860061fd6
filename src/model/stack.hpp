#pragma once
// One stack call: n layers, then in pre-norm form the exit norm that MagicNorm puts at the end of every call (golden
// A.8).
#include <vector>

#include "model/layer.hpp"
#include "model/weights.hpp"

namespace hrm::model {

/// Record of one stack call for its backward pass.
template <class T>
struct StackSaved {
  std::vector<LayerSaved<T>> layers;
  std::span<float> rstd;  // (tokens): exit norm, pre-norm form only
};

/// output (tokens, D) = stack(x); x (tokens, D) is consumed. Records layer i in saved.layers[i], or all in layers[0]
/// when it holds a single record of scratch (steps without gradient).
template <class T>
void stack_forward(Stream stream, const ModelWeights<T>& weights, int stack, const Sequences& sequences,
                   const std::function<AttentionCall<T>(int layer)>& attend, Matrix<T> x, const StackSaved<T>& saved,
                   LayerScratch<T>& scratch, Matrix<T> output);

/// d (tokens, D) in place: from the gradient of `output` to that of the stack's input. `gradients(layer)` gives the
/// sums of a layer; `finished(layer)` is called when its backward is through.
template <class T>
void stack_backward(Stream stream, const ModelWeights<T>& weights, int stack, const Sequences& sequences,
                    const StackSaved<T>& saved, LayerScratch<T>& scratch, Matrix<const T> output, Matrix<T> d,
                    const std::function<LayerGradients(int layer)>& gradients,
                    const std::function<void(int layer)>& finished);

}  // namespace hrm::model
