#include "kernels/attention_general_cuda.hpp"

#include <limits>

namespace hrm::kernels::cuda::attention {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

/// Scores (rows, rows) in units of log 2 become weights; a warp per row, a lane per key.
template <int rows>
__device__ __forceinline__ void softmax_rows(float* scores, float* largest, float* total, float* factor) {
  for (int r = warp_id(); r < rows; r += warps) {
    const int lane = lane_id();
    const float score = lane < rows ? scores[r * (rows + 1) + lane] : minus_infinity;
    const float before = largest[r];
    const float now = fmaxf(before, warp_max(score));
    const float weight = exp2f(score - now);
    const float shrink = exp2f(before - now);
    const float sum = warp_sum(weight);
    __syncwarp();
    if (lane < rows) {
      scores[r * (rows + 1) + lane] = weight;
    }
    if (lane == 0) {
      largest[r] = now;
      total[r] = total[r] * shrink + sum;
      factor[r] = shrink;
    }
  }
}

template <class T, int rows>
__global__ __launch_bounds__(threads) void forward_kernel(const AttentionTile* tiles, int heads, float scale,
                                                          Matrix<const T> q, Matrix<const T> k, Matrix<const T> v,
                                                          Matrix<T> out, float* lse) {
  HRM_DYNAMIC_SHARED(float, memory);
  const int head_dim = static_cast<int>(q.cols) / heads;
  Tiles t(memory, head_dim);
  float* q_tile = t.take(rows * t.stride);
  float* k_tile = t.take(rows * t.stride);
  float* v_tile = t.take(rows * t.stride);
  float* sums = t.take(rows * t.stride);
  float* scores = t.take(rows * (rows + 1));
  float* largest = t.take(rows);
  float* total = t.take(rows);
  float* factor = t.take(rows);
  const Place place = place_of<rows, false>(tiles, heads);
  const AttentionTile& tile = place.tile;
  const int valid = tile.length - place.begin;
  if (valid <= 0) {
    return;
  }
  const int column = place.head * head_dim;
  load_tile<rows>(t, q_tile, q, tile.first + place.begin, column, valid);
  clear_tile<rows>(t, sums);
  for (int r = static_cast<int>(threadIdx.x); r < rows; r += threads) {
    largest[r] = minus_infinity;
    total[r] = 0.0F;
  }
  const int end = seen_by(tile, place.begin, rows);
  for (int key = 0; key < end; key += rows) {
    load_tile<rows>(t, k_tile, k, tile.first + key, column, tile.length - key);
    load_tile<rows>(t, v_tile, v, tile.first + key, column, tile.length - key);
    __syncthreads();
    products<rows>(t, q_tile, k_tile, [&](int r, int j, float product) {
      const bool seen = key + j < seen_keys(tile, place.begin + r);
      scores[r * (rows + 1) + j] = seen ? product * scale : minus_infinity;
    });
    __syncthreads();
    softmax_rows<rows>(scores, largest, total, factor);
    __syncthreads();
    add_rows<rows>(t, factor, scores, v_tile, sums);
    __syncthreads();
  }
  for (int r = warp_id(); r < rows && r < valid; r += warps) {
    const std::int64_t row = tile.first + place.begin + r;
    for (int c = lane_id(); c < head_dim; c += warp_lanes) {
      out.row(row)[column + c] = from_float<T>(sums[r * t.stride + c] / total[r]);
    }
    if (lane_id() == 0) {
      lse[place.head * q.rows + row] = largest[r] * ln_2 + logf(total[r]);
    }
  }
}

template <class T, int rows>
void launch_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                    Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse) {
  const std::int64_t head_dim = q.cols / heads;
  launch(stream, grid_of(tiles.size(), heads, rows), dim3(threads), Tiles::bytes(rows, head_dim, 4, 1),
         forward_kernel<T, rows>, tiles.data(), heads, score_scale(head_dim), q, k, v, out, lse.data());
}

}  // namespace

template <class T>
void general_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                     Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse) {
  if (q.cols / heads <= tall_tile_head) {
    launch_forward<T, 32>(stream, tiles, heads, q, k, v, out, lse);
  } else {
    launch_forward<T, 16>(stream, tiles, heads, q, k, v, out, lse);
  }
}

template void general_forward(Stream, std::span<const AttentionTile>, std::int64_t, Matrix<const float>,
                              Matrix<const float>, Matrix<const float>, Matrix<float>, std::span<float>);
template void general_forward(Stream, std::span<const AttentionTile>, std::int64_t, Matrix<const bf16>,
                              Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>, std::span<float>);

}  // namespace hrm::kernels::cuda::attention
