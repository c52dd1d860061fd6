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

#if HWY_TARGET == HWY_SCALAR
inline void transpose(std::int64_t rows, std::int64_t cols, const float* from, std::int64_t from_stride, float* to,
                      std::int64_t to_stride) {
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      to[c * to_stride + r] = from[r * from_stride + c];
    }
  }
}
#else
/// to (cols, rows) = from (rows, cols) transposed, in blocks of 4 x 4: rows and cols are multiples of 4.
inline void transpose(std::int64_t rows, std::int64_t cols, const float* from, std::int64_t from_stride, float* to,
                      std::int64_t to_stride) {
  const hn::FixedTag<float, 4> d;
  for (std::int64_t c = 0; c < cols; c += 4) {
    for (std::int64_t r = 0; r < rows; r += 4) {
      const float* in = from + r * from_stride + c;
      float* out = to + c * to_stride + r;
      const auto row0 = hn::LoadU(d, in);
      const auto row1 = hn::LoadU(d, in + from_stride);
      const auto row2 = hn::LoadU(d, in + 2 * from_stride);
      const auto row3 = hn::LoadU(d, in + 3 * from_stride);
      const auto even_low = hn::InterleaveLower(d, row0, row2);
      const auto odd_low = hn::InterleaveLower(d, row1, row3);
      const auto even_high = hn::InterleaveUpper(d, row0, row2);
      const auto odd_high = hn::InterleaveUpper(d, row1, row3);
      hn::StoreU(hn::InterleaveLower(d, even_low, odd_low), d, out);
      hn::StoreU(hn::InterleaveUpper(d, even_low, odd_low), d, out + to_stride);
      hn::StoreU(hn::InterleaveLower(d, even_high, odd_high), d, out + 2 * to_stride);
      hn::StoreU(hn::InterleaveUpper(d, even_high, odd_high), d, out + 3 * to_stride);
    }
  }
}
#endif

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
