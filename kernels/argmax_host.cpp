#include <limits>

#include "kernels/argmax.hpp"
#include "kernels/cuda_dispatch.hpp"

namespace hrm::kernels {
namespace {

std::int32_t first_maximum(const float* x, std::int64_t n) {
  std::int64_t best = 0;
  float largest = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < n; ++i) {
    if (x[i] > largest) {
      largest = x[i];
      best = i;
    }
  }
  return static_cast<std::int32_t>(best);
}

}  // namespace

void argmax_rows(Stream stream, Matrix<const float> logits, std::span<std::int32_t> tokens) {
  HRM_CUDA_DISPATCH(stream, argmax_rows(stream, logits, tokens));
#pragma omp parallel for schedule(static)
  for (std::int64_t r = 0; r < logits.rows; ++r) {
    tokens[static_cast<std::size_t>(r)] = first_maximum(logits.row(r), logits.cols);
  }
}

}  // namespace hrm::kernels
