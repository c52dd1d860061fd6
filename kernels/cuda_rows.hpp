#pragma once
// Rows of matrices, 16 bytes per thread and access, for the .cu files. Where an address is not aligned the same
// elements are read one by one by the same thread, so results depend on sizes only.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "base/matrix.hpp"
#include "kernels/cuda_device.hpp"

namespace hrm::kernels::cuda {

/// The 16 bytes at `from`, of which `n` elements exist; the others become `padding`.
template <bool aligned, class T>
__device__ __forceinline__ Pack16<T> load_part(const T* from, std::int64_t n, T padding = T{}) {
  if (aligned && n >= Pack16<T>::count) {
    return load_16(from);
  }
  Pack16<T> pack;
  for (int i = 0; i < Pack16<T>::count; ++i) {
    pack.values[i] = i < n ? from[i] : padding;
  }
  return pack;
}

template <bool aligned, class T>
__device__ __forceinline__ void store_part(T* to, const Pack16<T>& pack, std::int64_t n) {
  if (aligned && n >= Pack16<T>::count) {
    store_16(to, pack);
    return;
  }
  for (int i = 0; i < Pack16<T>::count; ++i) {
    if (i < n) {
      to[i] = pack.values[i];
    }
  }
}

/// The pack of element(i) for i < count, rounded to T.
template <class T, class Element>
__device__ __forceinline__ Pack16<T> make_pack(const Element& element) {
  Pack16<T> pack;
  if constexpr (std::is_same_v<T, bf16>) {
    for (int i = 0; i < Pack16<T>::count; i += 2) {
      const std::uint32_t two = pack_bf16(element(i), element(i + 1));
      pack.values[i].bits = static_cast<std::uint16_t>(two);
      pack.values[i + 1].bits = static_cast<std::uint16_t>(two >> 16);
    }
  } else {
    for (int i = 0; i < Pack16<T>::count; ++i) {
      pack.values[i] = element(i);
    }
  }
  return pack;
}

/// The floats beside a pack of T: as many as it has elements, in packs of four.
template <class T>
struct FloatsOf {
  static constexpr int packs = Pack16<T>::count / 4;
  Pack16<float> parts[packs];
  __device__ __forceinline__ float operator[](int i) const { return parts[i / 4].values[i % 4]; }
  __device__ __forceinline__ float& operator[](int i) { return parts[i / 4].values[i % 4]; }
};

template <bool aligned, class T>
__device__ __forceinline__ FloatsOf<T> load_floats(const float* from, std::int64_t n, float padding = 0) {
  FloatsOf<T> floats;
  for (int p = 0; p < FloatsOf<T>::packs; ++p) {
    floats.parts[p] = load_part<aligned>(from + 4 * p, n - 4 * p, padding);
  }
  return floats;
}

template <bool aligned, class T>
__device__ __forceinline__ void store_floats(float* to, const FloatsOf<T>& floats, std::int64_t n) {
  for (int p = 0; p < FloatsOf<T>::packs; ++p) {
    store_part<aligned>(to + 4 * p, floats.parts[p], n - 4 * p);
  }
}

inline constexpr int map_threads = 256;

/// body.apply<aligned>(row, column, left): one pack of a row, `left` elements from the row's end.
template <class Body, bool aligned>
__global__ void __launch_bounds__(map_threads) map_packs(Body body, std::int64_t cols, unsigned column_blocks) {
  const std::int64_t row = blockIdx.x / column_blocks;
  const std::int64_t column =
      (static_cast<std::int64_t>(blockIdx.x % column_blocks) * blockDim.x + threadIdx.x) * Body::count;
  if (column < cols) {
    body.template apply<aligned>(row, column, cols - column);
  }
}

inline unsigned warps_of(std::int64_t threads) {
  return static_cast<unsigned>((threads + warp_lanes - 1) / warp_lanes * warp_lanes);
}

/// Runs body on every pack of `rows` rows of `cols` elements; `aligned`: all rows that it reads and writes are.
template <class Body>
void map(Stream stream, const Body& body, std::int64_t rows, std::int64_t cols, bool aligned) {
  if (rows == 0 || cols == 0) {
    return;
  }
  const std::int64_t packs = (cols + Body::count - 1) / Body::count;
  const std::int64_t blocks = (packs + map_threads - 1) / map_threads;
  const dim3 grid(static_cast<unsigned>(rows * blocks));
  const dim3 block(warps_of((packs + blocks - 1) / blocks));
  launch(stream, grid, block, 0, aligned ? map_packs<Body, true> : map_packs<Body, false>, body, cols,
         static_cast<unsigned>(blocks));
}

template <class T>
bool aligned_rows(Matrix<T> x) {
  return rows_aligned(x.data, x.stride);
}

/// Sum over the threads of a block, whole warps, the same bits in every thread. `shared` (32) serves one call.
template <class Number>
__device__ __forceinline__ Number block_sum(Number x, Number* shared) {
  const unsigned warps = blockDim.x / warp_lanes;
  const unsigned lane = threadIdx.x % warp_lanes;
  x = warp_sum(x);
  if (lane == 0) {
    shared[threadIdx.x / warp_lanes] = x;
  }
  __syncthreads();
  return warp_sum(lane < warps ? shared[lane] : Number{});
}

/// Sum modulo 2^64 over the threads of a block, a power of two, right in the first thread: the order does not matter.
/// `shared` (threads) holds it in its first place once all threads have met.
__device__ __forceinline__ std::uint64_t block_total(std::uint64_t x, std::uint64_t* shared) {
  shared[threadIdx.x] = x;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      shared[threadIdx.x] += shared[threadIdx.x + half];
    }
  }
  return shared[threadIdx.x];
}

/// A value and where it stands.
struct Place {
  float value;
  std::int32_t index;
};

/// What is there before anything was seen: below every finite number.
__device__ __forceinline__ Place no_place() {
  return {-std::numeric_limits<float>::max(), std::numeric_limits<std::int32_t>::max()};
}

__device__ __forceinline__ Place first_best(Place a, Place b) {
  return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a;
}

__device__ __forceinline__ Place warp_best(Place place) {
  for (int offset = warp_lanes / 2; offset > 0; offset /= 2) {
    const Place other{__shfl_xor_sync(all_lanes, place.value, offset), __shfl_xor_sync(all_lanes, place.index, offset)};
    place = first_best(place, other);
  }
  return place;
}

/// The largest value of the block's threads, whole warps, with the lowest index among equals. `shared` (32) serves one
/// call.
__device__ __forceinline__ Place block_best(Place place, Place* shared) {
  const unsigned warps = blockDim.x / warp_lanes;
  const unsigned lane = threadIdx.x % warp_lanes;
  place = warp_best(place);
  if (lane == 0) {
    shared[threadIdx.x / warp_lanes] = place;
  }
  __syncthreads();
  return warp_best(lane < warps ? shared[lane] : no_place());
}

}  // namespace hrm::kernels::cuda
