#include "kernels/argmax.hpp"

#include "kernels/cuda_rows.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr std::int64_t argmax_threads = 512;

template <bool aligned>
__global__ void __launch_bounds__(argmax_threads) find_maximum(Matrix<const float> logits, std::int32_t* tokens) {
  constexpr int count = Pack16<float>::count;
  HRM_SHARED(Place, shared, [warp_lanes]);
  const float* x = logits.row(blockIdx.x);
  Place best = no_place();
  for (std::int64_t column = static_cast<std::int64_t>(threadIdx.x) * count; column < logits.cols;
       column += static_cast<std::int64_t>(blockDim.x) * count) {
    const Pack16<float> pack = load_part<aligned>(x + column, logits.cols - column, no_place().value);
    for (int i = 0; i < count; ++i) {
      if (pack.values[i] > best.value) {
        best = {pack.values[i], static_cast<std::int32_t>(column + i)};
      }
    }
  }
  best = block_best(best, shared);
  if (threadIdx.x == 0) {
    tokens[blockIdx.x] = best.index == no_place().index ? 0 : best.index;
  }
}

}  // namespace

void argmax_rows(Stream stream, Matrix<const float> logits, std::span<std::int32_t> tokens) {
  const unsigned threads = warps_of(std::min(argmax_threads, (logits.cols + 7) / 8));
  launch(stream, dim3(static_cast<unsigned>(logits.rows)), dim3(threads), 0,
         aligned_rows(logits) ? find_maximum<true> : find_maximum<false>, logits, tokens.data());
}

}  // namespace hrm::kernels::cuda
