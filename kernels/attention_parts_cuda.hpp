#pragma once
// What the CUDA kernels of attention share: which tile a block has, the mask, scales.
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/attention.hpp"
#include "kernels/cuda_device.hpp"

namespace hrm::kernels::cuda::attention {

inline constexpr int threads = 128;
inline constexpr int warps = threads / warp_lanes;
inline constexpr int tile_rows = static_cast<int>(attention_tile);
inline constexpr double log2_e = 1.4426950408889634;
inline constexpr float ln_2 = 0.6931471805599453F;

/// threadIdx.x is unsigned, which makes these divisions by powers of two plain shifts.
__device__ __forceinline__ int lane_id() {
  return static_cast<int>(threadIdx.x % warp_lanes);
}
__device__ __forceinline__ int warp_id() {
  return static_cast<int>(threadIdx.x / warp_lanes);
}

/// Keys that query i of a sequence sees are [0, seen_keys): this is never above the sequence's length for one of its
/// own queries.
__device__ __forceinline__ int seen_keys(const AttentionTile& tile, int query) {
  return max(tile.prefix, query + 1);
}
/// Keys that queries [query, query + count) see, those past the sequence's end left out.
__device__ __forceinline__ int seen_by(const AttentionTile& tile, int query, int count) {
  return query < tile.length ? seen_keys(tile, min(query + count, tile.length) - 1) : 0;
}
/// First query that sees a key: the response sees what came before it, the prefix sees itself.
__device__ __forceinline__ int first_query(const AttentionTile& tile, int key) {
  return key < tile.prefix ? 0 : key;
}

/// Blocks of a grid: one per part of `rows` rows of a tile and head. Heads run fastest, so that the expensive tiles of
/// all heads start first.
inline dim3 grid_of(std::size_t tiles, std::int64_t heads, int rows) {
  return dim3(static_cast<unsigned>(static_cast<std::int64_t>(tiles) * (tile_rows / rows) * heads));
}

/// Where a block works: rows [begin, begin + rows) of the sequence of `tile`, of one head; begin may be past its end.
struct Place {
  AttentionTile tile;
  int head;
  int begin;
};
/// With `mirrored` the tiles of a sequence swap places, last for first: under a causal mask the last queries see most
/// keys, and the first keys are seen by most queries.
template <int rows, bool mirrored>
__device__ __forceinline__ Place place_of(const AttentionTile* tiles, int heads) {
  constexpr int parts = tile_rows / rows;
  const int unit = static_cast<int>(blockIdx.x) / heads;
  Place place{tiles[unit / parts], static_cast<int>(blockIdx.x) % heads, 0};
  const int last = (place.tile.length - 1) / tile_rows * tile_rows;
  place.begin = (mirrored ? last - place.tile.begin : place.tile.begin) + unit % parts * rows;
  return place;
}

/// Calls work(std::integral_constant<int, head>) and returns true where `head_dim` is one of the tensor-core sizes.
template <class Work>
bool with_head(std::int64_t head_dim, const Work& work) {
  switch (head_dim) {
    case 16:
      work(std::integral_constant<int, 16>{});
      return true;
    case 32:
      work(std::integral_constant<int, 32>{});
      return true;
    case 64:
      work(std::integral_constant<int, 64>{});
      return true;
    case 128:
      work(std::integral_constant<int, 128>{});
      return true;
    default:
      return false;
  }
}

/// Factor of raw scores that gives them in units of log 2.
inline float score_scale(std::int64_t head_dim) {
  return static_cast<float>(log2_e / std::sqrt(static_cast<double>(head_dim)));
}

inline float head_scale(std::int64_t head_dim) {
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
}

template <class T>
bool rows_aligned(const Matrix<T>& x) {
  return cuda::rows_aligned(x.data, x.stride);
}

}  // namespace hrm::kernels::cuda::attention
