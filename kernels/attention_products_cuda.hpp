#pragma once
// Tiles of bf16 rows in shared memory and their products on tensor cores, with the sums in registers.
//
// A block has four warps. Each owns 16 * blocks rows of the block's tile and walks over the other side `step` rows at a
// time. A float[blocks][n][4] array of a lane holds, with g = lane / 4 and t = lane % 4, of row g (elements 0, 1) and
// g + 8 (elements 2, 3) of each 16-row block the columns 8 n + 2 t and 8 n + 2 t + 1. So sums of one product are left
// operands of the next without leaving the registers.
//
// Every row of a warp shares its matrix loads of the other side: 32 rows per warp where registers allow, for with 16
// shared memory (128 bytes a cycle), not the tensor cores, sets the speed.
#include "kernels/attention_parts_cuda.hpp"

namespace hrm::kernels::cuda::attention {

/// Rows of the other side that a block takes at a time.
inline constexpr int step = 32;

/// Elements between rows of a tile in shared memory: an odd number of 16-byte words, so that the eight rows of a
/// matrix load lie in different banks.
template <int head>
inline constexpr int shared_stride = head + 8;

/// Starts the copy of `rows` rows of x from row `first` on, columns [column, column + head), into a shared tile; rows
/// from `valid` on become zero. (Offsets inside a tile are 32-bit, and pointers made anew: registers are short.)
template <int head, int rows>
__device__ __forceinline__ void copy_rows(bf16* tile, const Matrix<const bf16>& x, int first, int column, int valid) {
  constexpr int words = head / 8;
  constexpr int rows_per_pass = threads / words;
  const int row = static_cast<int>(threadIdx.x / words);
  const int word = static_cast<int>(threadIdx.x % words) * 8;
  const bf16* from = x.row(first + row) + (column + word);
  tile += row * shared_stride<head> + word;
#pragma unroll
  for (int pass = 0; pass < rows; pass += rows_per_pass) {
    if (rows % rows_per_pass == 0 || row < rows - pass) {
      copy_async_16(tile + pass * shared_stride<head>, from, row < valid - pass);
    }
    from += rows_per_pass * static_cast<int>(x.stride);
  }
}

/// Where a lane points matrix loads for 16 x 16 elements of a tile, as left operand (also as transposed right operand).
template <int head>
__device__ __forceinline__ const bf16* left_lane(const bf16* tile) {
  const int lane = lane_id();
  return tile + lane % 16 * shared_stride<head> + lane / 16 * 8;
}
/// The same for the rows of a right operand: 16 columns of the product, 16 terms of its sums.
template <int head>
__device__ __forceinline__ const bf16* right_lane(const bf16* tile) {
  const int lane = lane_id();
  return tile + (lane / 16 * 8 + lane % 8) * shared_stride<head> + lane / 8 % 2 * 8;
}

template <int blocks, int n>
__device__ __forceinline__ void clear(float (&sums)[blocks][n][4]) {
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
      sums[m][i][0] = sums[m][i][1] = sums[m][i][2] = sums[m][i][3] = 0.0F;
    }
  }
}

/// products (16 blocks, 8 n) = a bᵀ, a: 16 blocks rows from left_lane, b: 8 n rows from right_lane.
template <int head, int blocks, int n>
__device__ __forceinline__ void multiply_rows(float (&products)[blocks][n][4], const bf16* a, const bf16* b) {
  clear(products);
#pragma unroll
  for (int k = 0; k < head; k += 16) {
    std::uint32_t left[blocks][4];
#pragma unroll
    for (int m = 0; m < blocks; ++m) {
      load_matrix_x4(left[m], a + m * 16 * shared_stride<head> + k);
    }
#pragma unroll
    for (int i = 0; i < n; i += 2) {
      std::uint32_t right[4];
      load_matrix_x4(right, b + i * 8 * shared_stride<head> + k);
      const std::uint32_t even[2] = {right[0], right[1]};
      const std::uint32_t odd[2] = {right[2], right[3]};
#pragma unroll
      for (int m = 0; m < blocks; ++m) {
        multiply_add_16x8x16(products[m][i], left[m], even);
        multiply_add_16x8x16(products[m][i + 1], left[m], odd);
      }
    }
  }
}

/// Products rounded to bf16, [block][n][half]: elements 0, 1 and 2, 3 of a float[blocks][n][4] array. This is what the
/// tensor cores take as left operand.
template <int blocks, int n>
using Rounded = std::uint32_t[blocks][n][2];

template <int blocks, int n>
__device__ __forceinline__ void round_products(const float (&products)[blocks][n][4], Rounded<blocks, n>& rounded) {
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int i = 0; i < n; ++i) {
      rounded[m][i][0] = pack_bf16(products[m][i][0], products[m][i][1]);
      rounded[m][i][1] = pack_bf16(products[m][i][2], products[m][i][3]);
    }
  }
}

/// sums (16 blocks, head) += a b, a (16 blocks, 8 n) from registers, b: 8 n rows from left_lane.
template <int head, int blocks, int n>
__device__ __forceinline__ void add_product(float (&sums)[blocks][head / 8][4], const Rounded<blocks, n>& a,
                                            const bf16* b) {
#pragma unroll
  for (int k = 0; k < n; k += 2) {
#pragma unroll
    for (int i = 0; i < head / 8; i += 2) {
      std::uint32_t right[4];
      load_matrix_x4_transposed(right, b + k * 8 * shared_stride<head> + i * 8);
      const std::uint32_t even[2] = {right[0], right[1]};
      const std::uint32_t odd[2] = {right[2], right[3]};
#pragma unroll
      for (int m = 0; m < blocks; ++m) {
        const std::uint32_t left[4] = {a[m][k][0], a[m][k][1], a[m][k + 1][0], a[m][k + 1][1]};
        multiply_add_16x8x16(sums[m][i], left, even);
        multiply_add_16x8x16(sums[m][i + 1], left, odd);
      }
    }
  }
}

/// Rows of a warp, times `factor` per row, rounded to bf16 and stored 16 bytes at a time, the first `valid` of them.
/// `rows` is shared memory of 16 blocks rows that no other warp uses; `to` is their first row of the first column.
template <int head, int blocks>
__device__ __forceinline__ void store_rows(const float (&sums)[blocks][head / 8][4], const float (&factor)[blocks][2],
                                           bf16* rows, bf16* to, std::int64_t stride, int valid) {
  const int lane = lane_id();
  constexpr int words = head / 8;
  __syncwarp();  // the rows may still be operands
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int i = 0; i < words; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        bf16* pair = rows + (m * 16 + half * 8 + lane / 4) * shared_stride<head> + i * 8 + lane % 4 * 2;
        *reinterpret_cast<std::uint32_t*>(pair) =
            pack_bf16(sums[m][i][half * 2] * factor[m][half], sums[m][i][half * 2 + 1] * factor[m][half]);
      }
    }
  }
  __syncwarp();
#pragma unroll
  for (int i = lane; i < 16 * blocks * words; i += warp_lanes) {
    const int row = i / words;
    const int column = i % words * 8;
    if (row < valid) {
      store_16(to + row * stride + column, load_16(rows + row * shared_stride<head> + column));
    }
  }
}

/// The same factor for every row of store_rows.
template <int blocks>
struct Factors {
  float of[blocks][2];
  __device__ __forceinline__ explicit Factors(float factor) {
#pragma unroll
    for (int i = 0; i < blocks * 2; ++i) {
      of[i / 2][i % 2] = factor;
    }
  }
};

}  // namespace hrm::kernels::cuda::attention
