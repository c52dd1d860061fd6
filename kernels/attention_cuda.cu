// Forward pass on tensor cores: a block takes 128 queries of one head, its warps 32 each, and walks over the keys that
// they see, 64 at a time, with a running softmax. While scores are made the values come in, while those are summed the
// next keys: two barriers a tile. 32 rows per warp, because every row that shares a matrix load halves its cost: with 16
// shared memory, not the tensor cores, would set the speed.
#include <limits>

#include "kernels/attention_general_cuda.hpp"
#include "kernels/attention_parts_cuda.hpp"

namespace hrm::kernels::cuda {
namespace attention {
namespace {

constexpr int blocks = 2;  // of 16 queries per warp
constexpr int warp_queries = 16 * blocks;
constexpr int keys = 64;  // per step
constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

template <int head>
constexpr std::size_t shared_bytes = (tile_rows + 2 * keys) * shared_stride<head> * sizeof(bf16);

/// Largest raw score so far and this lane's share of Σ exp2(scale (score - largest)), per row.
struct Softmax {
  float largest[blocks][2];
  float total[blocks][2];
};


/// Scores of keys that a row does not see become minus infinity. `query` is the lane's first row, `key` its first column.
__device__ __forceinline__ void mask_scores(const AttentionTile& tile, int query, int key,
                                            float (&scores)[blocks][keys / 8][4]) {
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int seen = seen_keys(tile, query + m * 16 + half * 8) - key;
#pragma unroll
      for (int n = 0; n < keys / 8; ++n) {
        scores[m][n][half * 2] = n * 8 < seen ? scores[m][n][half * 2] : minus_infinity;
        scores[m][n][half * 2 + 1] = n * 8 + 1 < seen ? scores[m][n][half * 2 + 1] : minus_infinity;
      }
    }
  }
}

/// weights = exp2(scale (score - largest)); what was summed before shrinks to the new largest score. Every
/// row has seen key 0, so that `largest` is finite.
template <int head>
__device__ __forceinline__ void add_to_softmax(float scale, const float (&scores)[blocks][keys / 8][4],
                                               Rounded<blocks, keys / 8>& weights, Softmax& softmax,
                                               float (&sums)[blocks][head / 8][4]) {
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float before = softmax.largest[m][half];
      float largest = before;
#pragma unroll
      for (int n = 0; n < keys / 8; ++n) {
        largest = fmaxf(largest, fmaxf(scores[m][n][half * 2], scores[m][n][half * 2 + 1]));
      }
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 2));
      const float shrink = fast_exp2((before - largest) * scale);
      const float shift = largest * scale;
      float total = softmax.total[m][half] * shrink;
#pragma unroll
      for (int n = 0; n < keys / 8; ++n) {
        const float even = fast_exp2(fmaf(scores[m][n][half * 2], scale, -shift));
        const float odd = fast_exp2(fmaf(scores[m][n][half * 2 + 1], scale, -shift));
        total += even + odd;
        weights[m][n][half] = pack_bf16(even, odd);
      }
#pragma unroll
      for (int n = 0; n < head / 8; ++n) {
        sums[m][n][half * 2] *= shrink;
        sums[m][n][half * 2 + 1] *= shrink;
      }
      softmax.largest[m][half] = largest;
      softmax.total[m][half] = total;
    }
  }
}

/// Makes 1 / Σ weights of each row and writes its log-sum-exp, for rows before `valid`.
__device__ __forceinline__ void close_softmax(float scale, const Softmax& softmax, float (&inverse)[blocks][2],
                                              float* lse, int valid) {
  const int lane = lane_id();
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = softmax.total[m][half];
      total += __shfl_xor_sync(all_lanes, total, 1);
      total += __shfl_xor_sync(all_lanes, total, 2);
      inverse[m][half] = 1.0F / total;
      const int row = m * 16 + half * 8 + lane / 4;
      if (lane % 4 == 0 && row < valid) {
        lse[row] = softmax.largest[m][half] * (scale * ln_2) + logf(total);
      }
    }
  }
}

// Registers hold 192 sums of a head of 128, so two blocks share a multiprocessor; smaller heads leave room for three.
template <int head>
__global__ __launch_bounds__(threads, 2) void forward_kernel(const AttentionTile* tiles, int heads,
                                                                              float scale, Matrix<const bf16> q,
                                                                              Matrix<const bf16> k,
                                                                              Matrix<const bf16> v, Matrix<bf16> out,
                                                                              float* lse) {
  HRM_DYNAMIC_SHARED(bf16, q_rows);                               // (tile_rows, head)
  bf16* k_rows = q_rows + tile_rows * shared_stride<head>;        // (keys, head)
  bf16* v_rows = k_rows + keys * shared_stride<head>;             // (keys, head)
  const Place place = place_of<tile_rows, false>(tiles, heads);
  const AttentionTile& tile = place.tile;
  const int lane = lane_id();
  const int warp_row = warp_id() * warp_queries;
  const int query = place.begin + warp_row;
  const std::int64_t column = place.head * head;
  const bf16* first_k = k.row(tile.first) + column;
  const bf16* first_v = v.row(tile.first) + column;
  const int end = seen_keys(tile, std::min(place.begin + tile_rows, tile.length) - 1);
  const int warp_end = query < tile.length ? seen_keys(tile, std::min(query + warp_queries, tile.length) - 1) : 0;

  float scores[blocks][keys / 8][4];
  float sums[blocks][head / 8][4];
  clear(sums);
  Softmax softmax;
#pragma unroll
  for (int i = 0; i < blocks * 2; ++i) {
    softmax.largest[i / 2][i % 2] = minus_infinity;
    softmax.total[i / 2][i % 2] = 0.0F;
  }
  copy_rows<head, tile_rows>(q_rows, q.row(tile.first + place.begin) + column, static_cast<int>(q.stride), tile.length - place.begin);
  copy_rows<head, keys>(k_rows, first_k, static_cast<int>(k.stride), tile.length);
  copy_async_commit();
  for (int key = 0; key < end; key += keys) {
    copy_async_wait<0>();
    __syncthreads();  // the keys are there, and the values before them used
    copy_rows<head, keys>(v_rows, first_v + key * v.stride, static_cast<int>(v.stride), tile.length - key);
    copy_async_commit();
    if (key < warp_end) {
      multiply_rows<head>(scores, left_lane<head>(q_rows + warp_row * shared_stride<head>),
                          right_lane<head>(k_rows));
      if (key + keys > seen_keys(tile, query)) {
        mask_scores(tile, query + lane / 4, key + lane % 4 * 2, scores);
      }
    }
    copy_async_wait<0>();
    __syncthreads();  // the values are there, and the keys used
    if (key + keys < end) {
      copy_rows<head, keys>(k_rows, first_k + (key + keys) * k.stride, static_cast<int>(k.stride), tile.length - key - keys);
    }
    copy_async_commit();
    if (key < warp_end) {
      Rounded<blocks, keys / 8> weights;
      add_to_softmax<head>(scale, scores, weights, softmax, sums);
      add_product<head>(sums, weights, left_lane<head>(v_rows));
    }
  }
  if (query < tile.length) {
    float inverse[blocks][2];
    const std::int64_t row = tile.first + query;
    close_softmax(scale, softmax, inverse, lse + place.head * q.rows + row, tile.length - query);
    store_rows<head>(sums, inverse, q_rows + warp_row * shared_stride<head>, out.row(row) + column, out.stride,
                     tile.length - query);
  }
}

/// out and lse of rows from `used` on become 0.
template <class T>
__global__ void zero_padding_kernel(std::int64_t used, int heads, Matrix<T> out, float* lse) {
  const std::int64_t row = used + blockIdx.x;
  for (std::int64_t c = threadIdx.x; c < out.cols; c += blockDim.x) {
    out.row(row)[c] = from_float<T>(0.0F);
  }
  for (int head = static_cast<int>(threadIdx.x); head < heads; head += static_cast<int>(blockDim.x)) {
    lse[head * out.rows + row] = 0.0F;
  }
}

/// Whether tensor cores could do it.
bool forward_on_tensor_cores(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads,
                             Matrix<const bf16> q, Matrix<const bf16> k, Matrix<const bf16> v, Matrix<bf16> out,
                             std::span<float> lse) {
  if (!rows_aligned(q) || !rows_aligned(k) || !rows_aligned(v) || !rows_aligned(out)) {
    return false;
  }
  const std::int64_t head_dim = q.cols / heads;
  return with_head(head_dim, [&](auto head) {
    launch(stream, grid_of(tiles.size(), heads, tile_rows), dim3(threads), shared_bytes<head>, forward_kernel<head>,
           tiles.data(), heads, score_scale(head_dim), q, k, v, out, lse.data());
  });
}

}  // namespace
}  // namespace attention

template <class T>
void attention_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t used, std::int64_t heads,
                       Matrix<const T> q, Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse) {
  bool done = false;
  if constexpr (std::is_same_v<T, bf16>) {
    done = attention::forward_on_tensor_cores(stream, tiles, heads, q, k, v, out, lse);
  }
  if (!done) {
    attention::general_forward<T>(stream, tiles, heads, q, k, v, out, lse);
  }
  launch(stream, dim3(static_cast<unsigned>(q.rows - used)), dim3(256), 0, attention::zero_padding_kernel<T>, used,
         heads, out, lse.data());
}

template void attention_forward(Stream, std::span<const AttentionTile>, std::int64_t, std::int64_t, Matrix<const float>,
                                Matrix<const float>, Matrix<const float>, Matrix<float>, std::span<float>);
template void attention_forward(Stream, std::span<const AttentionTile>, std::int64_t, std::int64_t, Matrix<const bf16>,
                                Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>, std::span<float>);

}  // namespace hrm::kernels::cuda
