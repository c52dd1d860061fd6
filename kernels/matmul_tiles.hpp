#pragma once
// How a matrix product is cut. The cut depends on the shape alone, never on the number of threads: with it fixed, so
// are the bits of the result.
#include <algorithm>
#include <array>
#include <cstdint>

namespace hrm::kernels {

/// Rows [row, row + rows) and columns [col, col + cols) of a result.
struct Tile {
  std::int64_t row;
  std::int64_t col;
  std::int64_t rows;
  std::int64_t cols;
};

/// The distinct extents along one direction: full ones and the last one; zero where there is none.
using Extents = std::array<std::int64_t, 2>;

inline Extents extents(std::int64_t total, std::int64_t step) {
  return {total >= step ? step : 0, total % step};
}

/// A result (rows, cols) cut into tiles of tile_rows x tile_cols, smaller at the ends.
struct Tiles {
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t tile_rows;
  std::int64_t tile_cols;

  std::int64_t per_row() const { return (cols + tile_cols - 1) / tile_cols; }
  std::int64_t count() const { return (rows + tile_rows - 1) / tile_rows * per_row(); }
  Tile at(std::int64_t index) const {
    const std::int64_t row = index / per_row() * tile_rows;
    const std::int64_t col = index % per_row() * tile_cols;
    return {row, col, std::min(tile_rows, rows - row), std::min(tile_cols, cols - col)};
  }
  Extents row_extents() const { return extents(rows, tile_rows); }
  Extents col_extents() const { return extents(cols, tile_cols); }
};

/// Columns of one slab of a packed weight, where the packed layout allows slabs.
inline constexpr std::int64_t slab_columns = 256;
/// Products of at most this many rows (decoding) are cut along columns, larger ones along rows only.
inline constexpr std::int64_t small_rows = 64;

/// Tiles of y = x w. Strips of whole rows keep x and y dense, the only form for which oneDNN 2.6 uses its best kernels:
/// 460 GFLOP/s for bf16 at 2048 x 256 x 1536 against 400 with 256 x 512 tiles. Halving a strip costs 2 to 4 %.
inline Tiles product_tiles(std::int64_t rows, std::int64_t cols, bool has_slabs) {
  if (rows <= small_rows) {
    return {rows, cols, std::max<std::int64_t>(rows, 1), has_slabs ? std::min(slab_columns, cols) : cols};
  }
  const std::int64_t strip = rows >= 2048 ? 256 : rows >= 1024 ? 128 : 64;
  return {rows, cols, strip, cols};
}

/// Rows of dy and x that one library call of a weight gradient takes in.
inline constexpr std::int64_t gradient_chunk = 512;

/// Tiles of dw = dyᵀ x: 256 x 256, halved until four threads have work; smaller ones lose speed (64 x 64: a third).
inline Tiles gradient_tiles(std::int64_t out, std::int64_t in) {
  Tiles tiles{out, in, 256, 256};
  while (tiles.count() < 4 && tiles.tile_cols > 64) {
    auto& longer = tiles.tile_cols >= tiles.tile_rows ? tiles.tile_cols : tiles.tile_rows;
    longer /= 2;
  }
  return tiles;
}

}  // namespace hrm::kernels
