#pragma once
// Cross-entropy of supervised rows with its gradient (golden B.2). Log-sum-exp in float32.
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// For each row r: loss[r] = logsumexp(logits[r]) - logits[r, labels[r]]; argmax[r] the first maximum;
/// dlogits[r] = (softmax(logits[r]) - onehot(labels[r])) * gradient_scale. A label of -1 marks a padding row:
/// loss 0, argmax -1, dlogits 0.
template <class T>
void cross_entropy(Stream, Matrix<const float> logits, std::span<const std::int32_t> labels, float gradient_scale,
                   Matrix<T> dlogits, std::span<float> loss, std::span<std::int32_t> argmax);

}  // namespace hrm::kernels
