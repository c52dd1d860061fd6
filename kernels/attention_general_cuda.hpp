#pragma once
// Attention in plain float32 for every type, head size and stride: tiles of `rows` rows in shared memory as float32,
// results too. Every thread makes (rows / 16) x (rows / 8) scores; then every warp adds to its rows, lanes along the
// head.
#include "kernels/attention_parts_cuda.hpp"

namespace hrm::kernels::cuda::attention {

// Larger heads in lower tiles: shared memory holds up to six.
inline constexpr std::int64_t tall_tile_head = 128;

/// Tiles of one block in dynamic shared memory. Rows of a tile lie `stride` floats apart: odd, so that a column's
/// elements lie in different banks.
struct Tiles {
  float* next;
  int head;
  int stride;

  __device__ __forceinline__ Tiles(float* memory, int head_dim) : next(memory), head(head_dim), stride(head_dim | 1) {}
  __device__ __forceinline__ float* take(int count) {
    float* part = next;
    next += count;
    return part;
  }
  /// Of `tiles` tiles and `scores` blocks of scores, with three numbers per row.
  static std::size_t bytes(std::int64_t rows, std::int64_t head_dim, int tiles, int scores) {
    const std::int64_t floats = rows * (tiles * (head_dim | 1) + scores * (rows + 1) + 3);
    return static_cast<std::size_t>(floats) * sizeof(float);
  }
};

/// Rows [first, first + rows) of x, columns [column, column + head), as float32; rows from `valid` on become 0.
template <int rows, class T>
__device__ __forceinline__ void load_tile(const Tiles& t, float* tile, const Matrix<const T>& x, int first, int column,
                                          int valid) {
  for (int r = warp_id(); r < rows; r += warps) {
    for (int c = lane_id(); c < t.head; c += warp_lanes) {
      tile[r * t.stride + c] = r < valid ? to_float(x.row(first + r)[column + c]) : 0.0F;
    }
  }
}

template <int rows>
__device__ __forceinline__ void clear_tile(const Tiles& t, float* tile) {
  for (int i = static_cast<int>(threadIdx.x); i < rows * t.stride; i += threads) {
    tile[i] = 0.0F;
  }
}

template <int rows, class T>
__device__ __forceinline__ void store_tile(const Tiles& t, const float* tile, float factor, const Matrix<T>& x,
                                           int first, int column, int valid) {
  for (int r = warp_id(); r < rows && r < valid; r += warps) {
    for (int c = lane_id(); c < t.head; c += warp_lanes) {
      x.row(first + r)[column + c] = from_float<T>(tile[r * t.stride + c] * factor);
    }
  }
}

/// Calls put(row, column, Σ_c a[row][c] b[column][c]) for this thread's part of rows x rows products.
template <int rows, class Put>
__device__ __forceinline__ void products(const Tiles& t, const float* a, const float* b, const Put& put) {
  constexpr int tall = rows / 16;
  constexpr int wide = rows / 8;
  const int row = static_cast<int>(threadIdx.x) / 8 * tall;
  const int column = static_cast<int>(threadIdx.x) % 8;
  float sums[tall][wide] = {};
  for (int c = 0; c < t.head; ++c) {
#pragma unroll
    for (int i = 0; i < tall; ++i) {
      const float left = a[(row + i) * t.stride + c];
#pragma unroll
      for (int j = 0; j < wide; ++j) {
        sums[i][j] = fmaf(left, b[(column + j * 8) * t.stride + c], sums[i][j]);
      }
    }
  }
#pragma unroll
  for (int i = 0; i < tall; ++i) {
#pragma unroll
    for (int j = 0; j < wide; ++j) {
      put(row + i, column + j * 8, sums[i][j]);
    }
  }
}

/// sums[r][c] = factor[r] sums[r][c] + Σ_j weights[r][j] x[j][c]; a thread's elements are the same in every call.
template <int rows>
__device__ __forceinline__ void add_rows(const Tiles& t, const float* factor, const float* weights, const float* x,
                                         float* sums) {
  constexpr int count = rows / warps;
  const int first = warp_id() * count;
  for (int c = lane_id(); c < t.head; c += warp_lanes) {
    float sum[count] = {};
    for (int j = 0; j < rows; ++j) {
#pragma unroll
      for (int r = 0; r < count; ++r) {
        sum[r] = fmaf(weights[(first + r) * (rows + 1) + j], x[j * t.stride + c], sum[r]);
      }
    }
#pragma unroll
    for (int r = 0; r < count; ++r) {
      float* to = sums + (first + r) * t.stride + c;
      *to = fmaf(*to, factor == nullptr ? 1.0F : factor[first + r], sum[r]);
    }
  }
}

/// The forward pass. Rows of padding are left alone.
template <class T>
void general_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                     Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse);

}  // namespace hrm::kernels::cuda::attention
