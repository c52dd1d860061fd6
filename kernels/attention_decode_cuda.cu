// One new token per sequence against its cache. The caches are read once and nothing else counts, so a block per
// sequence and head has all its threads load: eight lanes share a key for the scores of a chunk, and for its values
// each thread has some channels and every n-th key.
#include <cmath>
#include <limits>

#include "kernels/attention_parts_cuda.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr int decode_threads = 256;
constexpr int decode_chunk = decode_threads;  // keys per step of the softmax: one weight a thread
constexpr int key_lanes = 8;                  // that share the score of a key
constexpr int key_groups = decode_threads / key_lanes;
constexpr int decode_warps = decode_threads / warp_lanes;

/// Channels of a row that a thread takes at a time: 16 bytes of them.
template <class T>
inline constexpr int width = Pack16<T>::count;
static_assert(largest_decode_head / width<float> <= decode_threads);

/// Channels [c, c + width) of a row; those from head_dim on are 0. `aligned`: 16-byte loads are possible.
template <class T>
__device__ __forceinline__ void load_channels(const T* row, int c, int head_dim, bool aligned, float (&x)[width<T>]) {
  if (aligned) {
    const Pack16<T> pack = load_16(row + c);
#pragma unroll
    for (int i = 0; i < width<T>; ++i) {
      x[i] = to_float(pack.values[i]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < width<T>; ++i) {
      x[i] = c + i < head_dim ? to_float(row[c + i]) : 0.0F;
    }
  }
}

__device__ __forceinline__ bool all_aligned(const void* a, const void* b, std::int64_t row_bytes,
                                            std::int64_t head_bytes) {
  return (reinterpret_cast<std::uintptr_t>(a) | reinterpret_cast<std::uintptr_t>(b) |
          static_cast<std::uintptr_t>(row_bytes | head_bytes)) %
             16 ==
         0;
}

/// One head of one cache.
template <class T>
struct Cache {
  const T* keys;
  const T* values;
  std::int64_t stride;
  int head_dim;
  bool aligned;
};

/// scores[j] of keys [first, first + count), in units of log 2; minus infinity up to the end of the chunk.
template <class T>
__device__ __forceinline__ void score_chunk(const Cache<T>& cache, const float* query, int first, int count,
                                            float* scores) {
  const int lane = static_cast<int>(threadIdx.x) % key_lanes;
#pragma unroll 4
  for (int j = static_cast<int>(threadIdx.x) / key_lanes; j < decode_chunk; j += key_groups) {
    float sum = 0.0F;
    if (j < count) {
      for (int c = lane * width<T>; c < cache.head_dim; c += key_lanes * width<T>) {
        float key[width<T>];
        load_channels(cache.keys + (first + j) * cache.stride, c, cache.head_dim, cache.aligned, key);
#pragma unroll
        for (int i = 0; i < width<T>; ++i) {
          sum = fmaf(query[c + i], key[i], sum);
        }
      }
    }
    for (int offset = key_lanes / 2; offset > 0; offset /= 2) {
      sum += __shfl_xor_sync(all_lanes, sum, offset);
    }
    if (lane == 0) {
      scores[j] = j < count ? sum : -std::numeric_limits<float>::infinity();
    }
  }
}

/// Running softmax; every thread has the same numbers.
struct RunningSoftmax {
  float largest = -std::numeric_limits<float>::infinity();
  float total = 0.0F;
};

/// Scores become weights; returns the factor of what was summed before. `parts` (2, warps) is scratch.
__device__ __forceinline__ float weigh_chunk(RunningSoftmax& softmax, float* scores, float* parts) {
  const unsigned warp = threadIdx.x / warp_lanes;
  const bool first_lane = threadIdx.x % warp_lanes == 0;
  const float score = scores[threadIdx.x];
  const float warp_largest = warp_max(score);
  if (first_lane) {
    parts[warp] = warp_largest;
  }
  __syncthreads();
  const float before = softmax.largest;
  for (int i = 0; i < decode_warps; ++i) {
    softmax.largest = fmaxf(softmax.largest, parts[i]);
  }
  const float weight = exp2f(score - softmax.largest);
  scores[threadIdx.x] = weight;
  const float warp_total = warp_sum(weight);
  if (first_lane) {
    parts[decode_warps + warp] = warp_total;
  }
  __syncthreads();
  const float shrink = exp2f(before - softmax.largest);
  softmax.total *= shrink;
  for (int i = 0; i < decode_warps; ++i) {
    softmax.total += parts[decode_warps + i];
  }
  return shrink;
}

template <class T>
__global__ __launch_bounds__(decode_threads, 2) void decode_kernel(int heads, float scale, Matrix<const T> q,
                                                                   const T* const* keys, const T* const* values,
                                                                   const std::int32_t* lengths, std::int64_t stride,
                                                                   Matrix<T> out) {
  constexpr int channels = static_cast<int>(largest_decode_head);
  HRM_SHARED(float, query, [channels]);
  HRM_SHARED(float, weights, [decode_chunk]);
  HRM_SHARED(float, parts, [2 * decode_warps]);
  HRM_SHARED(float, sums, [decode_threads * width<T>]);  // (splits, words, width)
  const int row = static_cast<int>(blockIdx.x) / heads;
  const int head_dim = static_cast<int>(q.cols) / heads;
  const int column = static_cast<int>(blockIdx.x) % heads * head_dim;
  const Cache<T> cache{keys[row] + column, values[row] + column, stride, head_dim,
                       all_aligned(keys[row], values[row], stride * static_cast<std::int64_t>(sizeof(T)),
                                   head_dim * static_cast<std::int64_t>(sizeof(T)))};
  for (int c = static_cast<int>(threadIdx.x); c < channels; c += decode_threads) {
    query[c] = c < head_dim ? to_float(q.row(row)[column + c]) * scale : 0.0F;
  }
  const int words = (head_dim + width<T> - 1) / width<T>;
  const int splits = decode_threads / words;  // of the keys of a chunk
  const int word = static_cast<int>(threadIdx.x) % words;
  const int split = static_cast<int>(threadIdx.x) / words;
  float sum[width<T>] = {};
  RunningSoftmax softmax;
  for (int first = 0; first < lengths[row]; first += decode_chunk) {
    const int count = min(decode_chunk, lengths[row] - first);
    __syncthreads();  // the query is there, the weights before are used
    score_chunk(cache, query, first, count, weights);
    __syncthreads();
    const float shrink = weigh_chunk(softmax, weights, parts);
#pragma unroll
    for (int i = 0; i < width<T>; ++i) {
      sum[i] *= shrink;
    }
#pragma unroll 4
    for (int j = split < splits ? split : count; j < count; j += splits) {
      float value[width<T>];
      load_channels(cache.values + (first + j) * stride, word * width<T>, head_dim, cache.aligned, value);
#pragma unroll
      for (int i = 0; i < width<T>; ++i) {
        sum[i] = fmaf(weights[j], value[i], sum[i]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < width<T>; ++i) {
    sums[threadIdx.x * width<T> + i] = sum[i];
  }
  __syncthreads();
  for (int c = static_cast<int>(threadIdx.x); c < head_dim; c += decode_threads) {
    float total = 0.0F;
    for (int s = 0; s < splits; ++s) {
      total += sums[s * words * width<T> + c];
    }
    out.row(row)[column + c] = from_float<T>(total / softmax.total);
  }
}

template <class T>
__global__ void append_kernel(Matrix<const T> k, Matrix<const T> v, T* const* keys, T* const* values,
                              const std::int32_t* lengths, std::int64_t stride) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t at = (lengths[row] - 1) * stride;
  for (std::int64_t c = threadIdx.x; c < k.cols; c += blockDim.x) {
    keys[row][at + c] = k.row(row)[c];
    values[row][at + c] = v.row(row)[c];
  }
}

}  // namespace

template <class T>
void attention_decode(Stream stream, std::int64_t heads, Matrix<const T> q, std::span<const T* const> keys,
                      std::span<const T* const> values, std::span<const std::int32_t> lengths,
                      std::int64_t cache_stride, Matrix<T> out) {
  launch(stream, dim3(static_cast<unsigned>(q.rows * heads)), dim3(decode_threads), 0, decode_kernel<T>, heads,
         attention::score_scale(q.cols / heads), q, keys.data(), values.data(), lengths.data(), cache_stride, out);
}

template <class T>
void attention_append(Stream stream, Matrix<const T> k, Matrix<const T> v, std::span<T* const> keys,
                      std::span<T* const> values, std::span<const std::int32_t> lengths, std::int64_t cache_stride) {
  launch(stream, dim3(static_cast<unsigned>(k.rows)), dim3(decode_threads), 0, append_kernel<T>, k, v, keys.data(),
         values.data(), lengths.data(), cache_stride);
}

template void attention_decode(Stream, std::int64_t, Matrix<const float>, std::span<const float* const>,
                               std::span<const float* const>, std::span<const std::int32_t>, std::int64_t,
                               Matrix<float>);
template void attention_decode(Stream, std::int64_t, Matrix<const bf16>, std::span<const bf16* const>,
                               std::span<const bf16* const>, std::span<const std::int32_t>, std::int64_t, Matrix<bf16>);
template void attention_append(Stream, Matrix<const float>, Matrix<const float>, std::span<float* const>,
                               std::span<float* const>, std::span<const std::int32_t>, std::int64_t);
template void attention_append(Stream, Matrix<const bf16>, Matrix<const bf16>, std::span<bf16* const>,
                               std::span<bf16* const>, std::span<const std::int32_t>, std::int64_t);

}  // namespace hrm::kernels::cuda
