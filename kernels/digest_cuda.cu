#include "base/digest.hpp"

#include "kernels/cuda_rows.hpp"
#include "kernels/digest.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr int digest_threads = 256;

__device__ __forceinline__ std::uint64_t bits_of(float x) {
  return std::bit_cast<std::uint32_t>(x);
}
__device__ __forceinline__ std::uint64_t bits_of(bf16 x) {
  return x.bits;
}
__device__ __forceinline__ std::uint64_t bits_of(std::uint64_t x) {
  return x;
}

template <class T, bool aligned>
__global__ void __launch_bounds__(digest_threads)
    digest_parts(const T* values, std::int64_t size, std::uint64_t first, std::uint64_t* parts) {
  constexpr int count = Pack16<T>::count;
  HRM_SHARED(std::uint64_t, shared, [digest_threads]);
  std::uint64_t sum = 0;
  for (std::int64_t at = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * count; at < size;
       at += static_cast<std::int64_t>(gridDim.x) * blockDim.x * count) {
    const Pack16<T> pack = load_part<aligned>(values + at, size - at);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t index = first + static_cast<std::uint64_t>(at + i);
      sum += at + i < size ? splitmix64(bits_of(pack.values[i]) ^ splitmix64(index)) : 0;
    }
  }
  sum = block_total(sum, shared);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = sum;
  }
}

__global__ void __launch_bounds__(digest_threads)
    digest_total(const std::uint64_t* parts, std::int64_t count, std::uint64_t* total) {
  HRM_SHARED(std::uint64_t, shared, [digest_threads]);
  std::uint64_t sum = 0;
  for (std::int64_t i = threadIdx.x; i < count; i += digest_threads) {
    sum += parts[i];
  }
  sum = block_total(sum, shared);
  if (threadIdx.x == 0) {
    *total = sum;
  }
}

}  // namespace

template <class T>
void digest_values(Stream stream, std::span<const T> values, std::uint64_t first, std::span<std::uint64_t> scratch,
                   std::uint64_t* sum) {
  constexpr std::int64_t per_block = digest_threads * Pack16<T>::count;
  const auto size = static_cast<std::int64_t>(values.size());
  const auto blocks = std::min<std::int64_t>(digest_scratch, (size + per_block - 1) / per_block);
  launch(stream, dim3(static_cast<unsigned>(blocks)), dim3(digest_threads), 0,
         rows_aligned(values.data(), 0) ? digest_parts<T, true> : digest_parts<T, false>, values.data(), size, first,
         scratch.data());
  launch(stream, dim3(1), dim3(digest_threads), 0, digest_total, scratch.data(), blocks, sum);
}

template void digest_values(Stream, std::span<const float>, std::uint64_t, std::span<std::uint64_t>, std::uint64_t*);
template void digest_values(Stream, std::span<const bf16>, std::uint64_t, std::span<std::uint64_t>, std::uint64_t*);
template void digest_values(Stream, std::span<const std::uint64_t>, std::uint64_t, std::span<std::uint64_t>,
                            std::uint64_t*);

}  // namespace hrm::kernels::cuda
