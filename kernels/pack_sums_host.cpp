#include "kernels/pack_sums.hpp"

#include "kernels/cuda_dispatch.hpp"

namespace hrm::kernels {

void pack_sums(Stream stream, std::span<const float> loss, std::span<const std::int32_t> argmax,
               std::span<const std::int32_t> labels, std::span<const std::int32_t> sequence, PackSums* sums) {
  HRM_CUDA_DISPATCH(stream, pack_sums(stream, loss, argmax, labels, sequence, sums));
  PackSums total;
  const std::size_t rows = loss.size();
  total.tokens = static_cast<std::int64_t>(rows);
  for (std::size_t first = 0; first < rows;) {
    bool all_right = true;
    std::size_t r = first;
    for (; r < rows && sequence[r] == sequence[first]; ++r) {
      const bool right = argmax[r] == labels[r];
      total.loss_sum += static_cast<double>(loss[r]);
      total.correct += right ? 1 : 0;
      all_right = all_right && right;
    }
    total.exact += all_right ? 1 : 0;
    total.sequences += 1;
    first = r;
  }
  *sums = total;
}

}  // namespace hrm::kernels
