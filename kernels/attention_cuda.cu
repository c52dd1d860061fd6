// Forward pass on tensor cores: a block takes 128 queries of one head, its warps 32 each, and walks over the keys that
// they see, 32 at a time, with a running softmax, while the next 32 come in.
#include <limits>

#include "kernels/attention_general_cuda.hpp"
#include "kernels/attention_products_cuda.hpp"

namespace hrm::kernels::cuda {
namespace attention {
namespace {

constexpr int blocks = 2;  // of 16 queries per warp
constexpr int warp_queries = 16 * blocks;
constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

template <int head>
constexpr std::size_t shared_bytes = (tile_rows + 4 * step) * shared_stride<head> * sizeof(bf16);

/// Largest raw score so far and this lane's share of Σ exp2(scale (score - largest)), per row.
struct Softmax {
  float largest[blocks][2];
  float total[blocks][2];
};

__device__ __forceinline__ void open_softmax(Softmax& softmax) {
#pragma unroll
  for (int i = 0; i < blocks * 2; ++i) {
    softmax.largest[i / 2][i % 2] = minus_infinity;
    softmax.total[i / 2][i % 2] = 0.0F;
  }
}

/// Scores of keys that a row does not see become minus infinity. `query` is the lane's first row, `key` its first
/// column.
__device__ __forceinline__ void mask_scores(const AttentionTile& tile, int query, int key,
                                            float (&scores)[blocks][step / 8][4]) {
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int seen = seen_keys(tile, query + m * 16 + half * 8) - key;
#pragma unroll
      for (int n = 0; n < step / 8; ++n) {
        scores[m][n][half * 2] = n * 8 < seen ? scores[m][n][half * 2] : minus_infinity;
        scores[m][n][half * 2 + 1] = n * 8 + 1 < seen ? scores[m][n][half * 2 + 1] : minus_infinity;
      }
    }
  }
}

/// weights = exp2(scale (score - largest)); what was summed before shrinks to the new largest score. Every
/// row has seen key 0, so that `largest` is finite.
template <int head>
__device__ __forceinline__ void add_to_softmax(float scale, const float (&scores)[blocks][step / 8][4],
                                               Rounded<blocks, step / 8>& weights, Softmax& softmax,
                                               float (&sums)[blocks][head / 8][4]) {
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float before = softmax.largest[m][half];
      float largest = before;
#pragma unroll
      for (int n = 0; n < step / 8; ++n) {
        largest = fmaxf(largest, fmaxf(scores[m][n][half * 2], scores[m][n][half * 2 + 1]));
      }
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, 2));
      const float shrink = fast_exp2((before - largest) * scale);
      const float shift = largest * scale;
      float total = softmax.total[m][half] * shrink;
#pragma unroll
      for (int n = 0; n < step / 8; ++n) {
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

// A lane of a head of 128 holds 128 sums and 32 scores: two blocks (8 warps) a multiprocessor by registers, and 68 KiB
// of shared memory each, which an A100 has twice too.
template <int head>
__global__ __launch_bounds__(threads, head <= 64 ? 3 : 2) void forward_kernel(const AttentionTile* tiles, int heads,
                                                                              float scale, Matrix<const bf16> q,
                                                                              Matrix<const bf16> k,
                                                                              Matrix<const bf16> v, Matrix<bf16> out,
                                                                              float* lse) {
  HRM_DYNAMIC_SHARED(bf16, q_rows);                         // (tile_rows, head)
  bf16* k_rows = q_rows + tile_rows * shared_stride<head>;  // (2, step, head)
  bf16* v_rows = k_rows + 2 * step * shared_stride<head>;   // (2, step, head)
  const Place place = place_of<tile_rows, false>(tiles, heads);
  const AttentionTile& tile = place.tile;
  const int column = place.head * head;
  const int query = place.begin + warp_id() * warp_queries;
  bf16* warp_q = q_rows + warp_id() * warp_queries * shared_stride<head>;
  const int end = seen_by(tile, place.begin, tile_rows);
  const int warp_end = seen_by(tile, query, warp_queries);
  const auto copy_keys = [&](int key) {
    const int at = key % (2 * step) * shared_stride<head>;
    copy_rows<head, step>(k_rows + at, k, tile.first + key, column, tile.length - key);
    copy_rows<head, step>(v_rows + at, v, tile.first + key, column, tile.length - key);
    copy_async_commit();
  };

  float sums[blocks][head / 8][4];
  clear(sums);
  Softmax softmax;
  open_softmax(softmax);
  copy_rows<head, tile_rows>(q_rows, q, tile.first + place.begin, column, tile.length - place.begin);
  copy_keys(0);
  for (int key = 0; key < end; key += step) {
    copy_async_wait<0>();
    __syncthreads();  // these keys are there for all, and those before them used by all
    if (key + step < end) {
      copy_keys(key + step);
    }
    if (key < warp_end) {
      const int at = key % (2 * step) * shared_stride<head>;
      float scores[blocks][step / 8][4];
      Rounded<blocks, step / 8> weights;
      multiply_rows<head>(scores, left_lane<head>(warp_q), right_lane<head>(k_rows + at));
      if (key + step > seen_keys(tile, query)) {
        mask_scores(tile, query + lane_id() / 4, key + lane_id() % 4 * 2, scores);
      }
      add_to_softmax<head>(scale, scores, weights, softmax, sums);
      add_product<head>(sums, weights, left_lane<head>(v_rows + at));
    }
  }
  if (query < tile.length) {
    float inverse[blocks][2];
    const std::int64_t row = tile.first + query;
    close_softmax(scale, softmax, inverse, lse + place.head * q.rows + row, tile.length - query);
    store_rows<head>(sums, inverse, warp_q, out.row(row) + column, out.stride, tile.length - query);
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
