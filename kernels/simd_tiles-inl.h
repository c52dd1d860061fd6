// Small dense products in registers: the building block of attention. Everything is float32.
#if defined(HRM_KERNELS_SIMD_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HRM_KERNELS_SIMD_TILES_INL_H_
#undef HRM_KERNELS_SIMD_TILES_INL_H_
#else
#define HRM_KERNELS_SIMD_TILES_INL_H_
#endif

#include "kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {

/// Rows of C that one register tile holds; callers pad to a multiple of it.
#if HWY_TARGET == HWY_AVX3
inline constexpr std::int64_t tile_rows = 8;
#else
inline constexpr std::int64_t tile_rows = 4;
#endif

/// Element (r, k) of the left operand stands at data[r * row + k * depth].
struct LeftOperand {
  const float* data;
  std::int64_t row;
  std::int64_t depth;
};

/// C (tile_rows, Vectors lanes) (+)= A (tile_rows, depth) B (depth, Vectors lanes), k ascending.
template <int Vectors, bool accumulate>
HWY_INLINE void register_tile(std::int64_t depth, LeftOperand a, const float* HWY_RESTRICT b, std::int64_t b_stride,
                              float* HWY_RESTRICT c, std::int64_t c_stride) {
  const FloatTag d;
  const std::int64_t n = lanes();
  FloatVec sums[tile_rows][Vectors];
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < tile_rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      sums[r][v] = accumulate ? hn::LoadU(d, c + r * c_stride + v * n) : hn::Zero(d);
    }
  }
  for (std::int64_t k = 0; k < depth; ++k) {
    FloatVec right[Vectors];
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      right[v] = hn::LoadU(d, b + k * b_stride + v * n);
    }
#pragma GCC unroll 16
    for (std::int64_t r = 0; r < tile_rows; ++r) {
      const FloatVec left = hn::Set(d, a.data[r * a.row + k * a.depth]);
#pragma GCC unroll 2
      for (int v = 0; v < Vectors; ++v) {
        sums[r][v] = hn::MulAdd(left, right[v], sums[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (std::int64_t r = 0; r < tile_rows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < Vectors; ++v) {
      hn::StoreU(sums[r][v], d, c + r * c_stride + v * n);
    }
  }
}

/// C (rows, cols) (+)= A (rows, depth) B (depth, cols): rows a multiple of tile_rows, cols of lanes().
template <bool accumulate>
void tile_product(std::int64_t rows, std::int64_t cols, std::int64_t depth, LeftOperand a, const float* b,
                  std::int64_t b_stride, float* c, std::int64_t c_stride) {
  const std::int64_t n = lanes();
  for (std::int64_t r = 0; r < rows; r += tile_rows) {
    const LeftOperand left{a.data + r * a.row, a.row, a.depth};
    float* out = c + r * c_stride;
    std::int64_t col = 0;
    for (; col + 2 * n <= cols; col += 2 * n) {
      register_tile<2, accumulate>(depth, left, b + col, b_stride, out + col, c_stride);
    }
    if (col < cols) {
      register_tile<1, accumulate>(depth, left, b + col, b_stride, out + col, c_stride);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#endif  // HRM_KERNELS_SIMD_TILES_INL_H_
