#include "kernels/pack_sums.hpp"

#include "kernels/cuda_rows.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr int sums_threads = 1024;
constexpr int sums_warps = sums_threads / warp_lanes;

/// The last of rows [0, row) that is wrong, -1 if there is none. `wrong`: lanes of this warp whose rows are;
/// `last_wrong` (sums_warps) by warp of this tile; `before`: the last one of the tiles before.
__device__ __forceinline__ std::int64_t wrong_before(std::int64_t row, unsigned wrong, const std::int64_t* last_wrong,
                                                     std::int64_t before) {
  const int lane = static_cast<int>(threadIdx.x) % warp_lanes;
  for (int l = lane - 1; l >= 0; --l) {
    if ((wrong >> l & 1U) != 0) {
      return row - lane + l;
    }
  }
  for (int w = static_cast<int>(threadIdx.x) / warp_lanes - 1; w >= 0; --w) {
    if (last_wrong[w] >= 0) {
      return last_wrong[w];
    }
  }
  return before;
}

/// One block, row by row in tiles of its threads. A sequence is exact unless it has a first wrong row: one before which
/// no row of the same sequence is wrong.
__global__ void __launch_bounds__(sums_threads)
    sum_rows(const float* loss, const std::int32_t* argmax, const std::int32_t* labels, const std::int32_t* sequence,
             std::int64_t rows, PackSums* sums) {
  HRM_SHARED(std::int64_t, last_wrong, [sums_warps]);
  HRM_SHARED(double, shared, [4 * sums_warps]);
  std::int64_t before = -1;
  double loss_sum = 0;
  double correct = 0;  // counts are exact in double
  double sequences = 0;
  double inexact = 0;
  for (std::int64_t tile = 0; tile < rows; tile += sums_threads) {
    const std::int64_t row = tile + threadIdx.x;
    const bool exists = row < rows;
    const bool right = exists && argmax[row] == labels[row];
    const unsigned wrong = __ballot_sync(all_lanes, exists && !right);
    if (threadIdx.x % warp_lanes == 0) {
      std::int64_t last = -1;
      for (int l = 0; l < warp_lanes; ++l) {
        last = (wrong >> l & 1U) != 0 ? row + l : last;
      }
      last_wrong[threadIdx.x / warp_lanes] = last;
    }
    __syncthreads();
    if (exists) {
      loss_sum += static_cast<double>(loss[row]);
      correct += right ? 1 : 0;
      sequences += row == 0 || sequence[row] != sequence[row - 1] ? 1 : 0;
      if (!right) {
        const std::int64_t earlier = wrong_before(row, wrong, last_wrong, before);
        inexact += earlier < 0 || sequence[earlier] != sequence[row] ? 1 : 0;
      }
    }
    for (int w = 0; w < sums_warps; ++w) {
      before = last_wrong[w] >= 0 ? last_wrong[w] : before;
    }
    __syncthreads();
  }
  loss_sum = block_sum(loss_sum, shared);
  correct = block_sum(correct, shared + sums_warps);
  sequences = block_sum(sequences, shared + 2 * sums_warps);
  inexact = block_sum(inexact, shared + 3 * sums_warps);
  if (threadIdx.x == 0) {
    *sums = {loss_sum, rows, static_cast<std::int64_t>(correct), static_cast<std::int64_t>(sequences - inexact),
             static_cast<std::int64_t>(sequences)};
  }
}

}  // namespace

void pack_sums(Stream stream, std::span<const float> loss, std::span<const std::int32_t> argmax,
               std::span<const std::int32_t> labels, std::span<const std::int32_t> sequence, PackSums* sums) {
  launch(stream, dim3(1), dim3(sums_threads), 0, sum_rows, loss.data(), argmax.data(), labels.data(), sequence.data(),
         static_cast<std::int64_t>(loss.size()), sums);
}

}  // namespace hrm::kernels::cuda
