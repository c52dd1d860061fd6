#pragma once
// The most likely token of every row of logits.
#include <cstdint>
#include <span>

#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// tokens[r] = first column of logits (rows, V) with the row's maximum. NaN is no maximum; 0 where all are NaN.
void argmax_rows(Stream, Matrix<const float> logits, std::span<std::int32_t> tokens);

/// In device memory.
namespace cuda {
void argmax_rows(Stream, Matrix<const float> logits, std::span<std::int32_t> tokens);
}  // namespace cuda

}  // namespace hrm::kernels
