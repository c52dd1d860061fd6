#include "kernels/cuda_rows.hpp"
#include "kernels/draw.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr std::int64_t draw_threads = 512;
constexpr std::int64_t tokens_per_thread = 16;  // so many at least, where threads are few enough

/// What the threads of a block share, used by one block_ function at a time.
struct Shared {
  std::uint64_t* sums;  // (draw_threads)
  float* largest;       // (draw_threads)
};

/// Sum over the threads of the block, in every thread.
__device__ __forceinline__ std::uint64_t block_total_everywhere(std::uint64_t x, const Shared& shared) {
  block_total(x, shared.sums);
  __syncthreads();
  const std::uint64_t total = shared.sums[0];
  __syncthreads();
  return total;
}

__device__ __forceinline__ float block_largest(float x, const Shared& shared) {
  shared.largest[threadIdx.x] = x;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      shared.largest[threadIdx.x] = fmaxf(shared.largest[threadIdx.x], shared.largest[threadIdx.x + half]);
    }
  }
  __syncthreads();
  return shared.largest[0];
}

/// Writes the weights of a row.
__device__ void weigh(const float* logits, double temperature, std::int64_t n, std::uint64_t* weights,
                      const Shared& shared) {
  float own = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    own = fmaxf(own, logits[i]);  // passes over NaN
  }
  const float largest = block_largest(own, shared);
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    const double below = static_cast<double>(logits[i]) - static_cast<double>(largest);
    const double weight = logits[i] >= largest ? 1.0 : exp(below / temperature);
    weights[i] =
        weight >= 0 ? static_cast<std::uint64_t>(weight * static_cast<double>(std::uint64_t{1} << draw_bits)) : 0;
  }
  __syncthreads();
}

/// Sum of the weights of at least `least`, or their number.
template <bool counts>
__device__ std::uint64_t sum_from(const std::uint64_t* weights, std::int64_t n, std::uint64_t least,
                                  const Shared& shared) {
  std::uint64_t sum = 0;
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    sum += weights[i] < least ? 0 : counts ? 1 : weights[i];
  }
  return block_total_everywhere(sum, shared);
}

/// The largest bound for which the weights from it on still reach `wanted`.
template <bool counts>
__device__ std::uint64_t highest_bound(const std::uint64_t* weights, std::int64_t n, std::uint64_t wanted,
                                       const Shared& shared) {
  std::uint64_t bound = 0;
  for (int bit = draw_bits; bit >= 0; --bit) {
    const std::uint64_t higher = bound | std::uint64_t{1} << bit;
    bound = sum_from<counts>(weights, n, higher, shared) >= wanted ? higher : bound;
  }
  return bound;
}

/// The first token with which the sum of kept weights is above `passed`: every thread has a stretch of ids, the one
/// whose stretch passes it looks for the place.
__device__ void find(const std::uint64_t* weights, std::int64_t n, std::uint64_t least, std::uint64_t passed,
                     std::int32_t* token, const Shared& shared) {
  const std::int64_t stretch = (n + blockDim.x - 1) / blockDim.x;
  const std::int64_t first = threadIdx.x * stretch;
  const std::int64_t end = first + stretch < n ? first + stretch : n;
  std::uint64_t own = 0;
  for (std::int64_t i = first; i < end; ++i) {
    own += weights[i] < least ? 0 : weights[i];
  }
  shared.sums[threadIdx.x] = own;
  __syncthreads();
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < threadIdx.x; ++i) {
    sum += shared.sums[i];
  }
  if (sum <= passed && passed < sum + own) {
    std::int64_t i = first;
    for (sum += weights[i] < least ? 0 : weights[i]; sum <= passed; sum += weights[i] < least ? 0 : weights[i]) {
      ++i;
    }
    *token = static_cast<std::int32_t>(i);
  }
}

__global__ void __launch_bounds__(draw_threads)
    draw_row(Matrix<const float> logits, DrawRule rule, const double* numbers, std::uint64_t* all_weights,
             std::int32_t* tokens) {
  HRM_SHARED(std::uint64_t, sums, [draw_threads]);
  HRM_SHARED(float, largest, [draw_threads]);
  const Shared shared{sums, largest};
  const std::int64_t row = blockIdx.x;
  const std::int64_t n = logits.cols;
  std::uint64_t* weights = all_weights + row * n;
  if (threadIdx.x == 0) {
    tokens[row] = 0;
  }
  weigh(logits.row(row), rule.temperature, n, weights, shared);
  std::uint64_t least = 1;
  if (rule.top_k > 0) {
    const std::uint64_t bound = highest_bound<true>(weights, n, static_cast<std::uint64_t>(rule.top_k), shared);
    least = bound > least ? bound : least;
  }
  std::uint64_t total = sum_from<false>(weights, n, least, shared);
  if (rule.top_p < 1) {
    auto wanted = static_cast<std::uint64_t>(ceil(rule.top_p * static_cast<double>(total)));
    wanted = wanted < 1 ? 1 : wanted > total ? total : wanted;
    const std::uint64_t bound = highest_bound<false>(weights, n, wanted, shared);
    least = bound > least ? bound : least;
    total = sum_from<false>(weights, n, least, shared);
  }
  if (total > 0) {
    const auto passed = static_cast<std::uint64_t>(numbers[row] * static_cast<double>(total));
    find(weights, n, least, passed < total ? passed : total - 1, tokens + row, shared);  // a large total rounds up
  }
}

}  // namespace

void draw_rows(Stream stream, Matrix<const float> logits, const DrawRule& rule, std::span<const double> numbers,
               std::span<std::uint64_t> weights, std::span<std::int32_t> tokens) {
  const auto threads = std::bit_ceil(
      static_cast<std::uint64_t>(std::clamp<std::int64_t>(logits.cols / tokens_per_thread, warp_lanes, draw_threads)));
  launch(stream, dim3(static_cast<unsigned>(logits.rows)), dim3(static_cast<unsigned>(threads)), 0, draw_row, logits,
         rule, numbers.data(), weights.data(), tokens.data());
}

}  // namespace hrm::kernels::cuda
