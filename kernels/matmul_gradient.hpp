#pragma once
// Weight gradients dw = dyᵀ x in chunks of rows.
#include <cstdint>

#include "base/matrix.hpp"
#include "kernels/onednn.hpp"

namespace hrm::kernels {

/// dw (out, in) (+)= dyᵀ x with at least one row, multiplied as `scalar`: that of T, or f32 for bf16. T: float, bf16.
template <class T>
void weight_gradient(onednn::Scalar scalar, Matrix<const T> dy, Matrix<const T> x, Matrix<float> dw, bool accumulate);

/// Primitives and memory of the above for dense x and dw. The caller holds the engine's lock.
template <class T>
void prepare_weight_gradient(onednn::Scalar scalar, std::int64_t rows, std::int64_t out, std::int64_t in);

}  // namespace hrm::kernels
