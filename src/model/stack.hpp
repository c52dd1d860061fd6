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
  std::span<float> rstd;  // (own): exit norm, pre-norm form only
};

/// output (own, D) = stack(x); x (own, D) is consumed. Records layer i in saved.layers[i], or all in layers[0] when it
/// holds a single record of scratch (steps without gradient). `feed` (may be null) brings each layer's weights.
/// `normed`: the first record has the norm of x already (inject_and_norm).
template <class T>
void stack_forward(Stream stream, const ModelWeights<T>& weights, int stack, const Sequences& sequences,
                   const std::function<AttentionCall<T>(int layer)>& attend, WeightFeed* feed, Matrix<T> x,
                   const StackSaved<T>& saved, LayerScratch<T>& scratch, Matrix<T> output, bool normed = false);

/// What a backward pass asks and tells its caller.
struct BackwardHooks {
  std::function<LayerGradients(int layer)> gradients;  ///< sums of a layer
  std::function<void()> between;                       ///< between operations
  std::function<void(int layer)> finished;             ///< the layer's backward is through
};

/// d (own, D) in place: from the gradient of `output` (own, D) to that of the stack's input, then merged into `merge`.
template <class T>
void stack_backward(Stream stream, const ModelWeights<T>& weights, int stack, const Sequences& sequences,
                    const StackSaved<T>& saved, LayerScratch<T>& scratch, Matrix<const T> output, Matrix<T> d,
                    const Merge<T>& merge, const BackwardHooks& hooks);

}  // namespace hrm::model
