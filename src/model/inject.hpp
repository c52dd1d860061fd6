#pragma once
// State injection: what a step's stack reads is the sum of its operands (golden A.9).
#include <functional>
#include <span>

#include "base/device.hpp"
#include "base/matrix.hpp"
#include "model/layer.hpp"
#include "model/unroll.hpp"

namespace hrm::model {

/// u (tokens, D) = sum of the step's operands; `value(v)` is (tokens, D). zL_init (D) stands for itself in every row.
template <class T>
void inject(Stream stream, const Step& step, std::span<const T> zl_init, const std::function<Matrix<T>(Value)>& value,
            Matrix<T> u);

/// The same for a pre-norm stack, together with the norm of its first layer: fills that record's attention_input and
/// rstd1.
template <class T>
void inject_and_norm(Stream stream, const Step& step, std::span<const T> zl_init,
                     const std::function<Matrix<T>(Value)>& value, float eps, Matrix<T> u, const LayerSaved<T>& first);

}  // namespace hrm::model
