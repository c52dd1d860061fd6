#include "kernels/attention_backward_cuda.hpp"
#include "kernels/attention_general_cuda.hpp"

namespace hrm::kernels::cuda::attention {
namespace {

/// A tile of rows (a, da) against a tile of columns (b, db) in the backward pass, keys k, v against queries q, dout or
/// the other way round: weights = exp2(scale a b - lse) and dscores = weights (da db - row sum), both (rows, rows).
template <int rows, bool rows_are_keys>
__device__ __forceinline__ void score_gradients(const Tiles& t, const AttentionTile& tile, float scale, int key,
                                                int query, const float* a, const float* da, const float* b,
                                                const float* db, const float* lse, const float* row_sums,
                                                float* weights, float* dscores) {
  products<rows>(t, a, b, [&](int r, int c, float product) {
    const int j = rows_are_keys ? r : c;
    const int i = rows_are_keys ? c : r;
    const bool seen = key + j < seen_keys(tile, query + i);
    weights[r * (rows + 1) + c] = seen ? exp2f(fmaf(product, scale, -lse[i])) : 0.0F;
  });
  // The same thread has the same elements.
  products<rows>(t, da, db, [&](int r, int c, float product) {
    const int i = rows_are_keys ? c : r;
    dscores[r * (rows + 1) + c] = weights[r * (rows + 1) + c] * (product - row_sums[i]);
  });
}

/// lse in units of log 2 and row sums of `rows` queries; 0 past the sequence.
template <int rows, class T>
__device__ __forceinline__ void load_statistics(const Backward<T>& args, const Place& place, int query, float* lse,
                                                float* row_sums) {
  const std::int64_t first = place.head * args.q.rows + place.tile.first + query;
  for (int i = static_cast<int>(threadIdx.x); i < rows; i += threads) {
    const bool inside = query + i < place.tile.length;
    lse[i] = inside ? args.lse[first + i] * static_cast<float>(log2_e) : 0.0F;
    row_sums[i] = inside ? args.row_sums[first + i] : 0.0F;
  }
}

/// Tiles of score_gradients.
template <int rows>
struct BackwardTiles : Tiles {
  float* q;
  float* k;
  float* v;
  float* dout;
  float* weights;
  float* dscores;
  float* lse;
  float* row_sums;

  __device__ __forceinline__ BackwardTiles(float* memory, int head_dim) : Tiles(memory, head_dim) {
    q = take(rows * stride);
    k = take(rows * stride);
    v = take(rows * stride);
    dout = take(rows * stride);
    weights = take(rows * (rows + 1));
    dscores = take(rows * (rows + 1));
    lse = take(rows);
    row_sums = take(rows);
  }
};

template <class T, int rows>
__global__ __launch_bounds__(threads) void keys_kernel(Backward<T> args) {
  HRM_DYNAMIC_SHARED(float, memory);
  const int head_dim = static_cast<int>(args.q.cols) / args.heads;
  BackwardTiles<rows> t(memory, head_dim);
  float* dk = t.take(rows * t.stride);
  float* dv = t.take(rows * t.stride);
  const Place place = place_of<rows, true>(args.tiles, args.heads);
  const AttentionTile& tile = place.tile;
  const int valid = tile.length - place.begin;
  if (valid <= 0) {
    return;
  }
  const int first = tile.first + place.begin;
  const int column = place.head * head_dim;
  load_tile<rows>(t, t.k, args.k, first, column, valid);
  load_tile<rows>(t, t.v, args.v, first, column, valid);
  clear_tile<rows>(t, dk);
  clear_tile<rows>(t, dv);
  for (int query = first_query(tile, place.begin); query < tile.length; query += rows) {
    load_tile<rows>(t, t.q, args.q, tile.first + query, column, tile.length - query);
    load_tile<rows>(t, t.dout, args.dout, tile.first + query, column, tile.length - query);
    load_statistics<rows>(args, place, query, t.lse, t.row_sums);
    __syncthreads();
    score_gradients<rows, true>(t, tile, args.scale, place.begin, query, t.k, t.v, t.q, t.dout, t.lse, t.row_sums,
                                t.weights, t.dscores);
    __syncthreads();
    add_rows<rows>(t, nullptr, t.weights, t.dout, dv);
    add_rows<rows>(t, nullptr, t.dscores, t.q, dk);
    __syncthreads();
  }
  store_tile<rows>(t, dk, args.head_scale, args.dk, first, column, valid);
  store_tile<rows>(t, dv, 1.0F, args.dv, first, column, valid);
}

template <class T, int rows>
__global__ __launch_bounds__(threads) void queries_kernel(Backward<T> args) {
  HRM_DYNAMIC_SHARED(float, memory);
  const int head_dim = static_cast<int>(args.q.cols) / args.heads;
  BackwardTiles<rows> t(memory, head_dim);
  float* dq = t.take(rows * t.stride);
  const Place place = place_of<rows, false>(args.tiles, args.heads);
  const AttentionTile& tile = place.tile;
  const int valid = tile.length - place.begin;
  if (valid <= 0) {
    return;
  }
  const int first = tile.first + place.begin;
  const int column = place.head * head_dim;
  load_tile<rows>(t, t.q, args.q, first, column, valid);
  load_tile<rows>(t, t.dout, args.dout, first, column, valid);
  load_statistics<rows>(args, place, place.begin, t.lse, t.row_sums);
  clear_tile<rows>(t, dq);
  const int end = seen_by(tile, place.begin, rows);
  for (int key = 0; key < end; key += rows) {
    load_tile<rows>(t, t.k, args.k, tile.first + key, column, tile.length - key);
    load_tile<rows>(t, t.v, args.v, tile.first + key, column, tile.length - key);
    __syncthreads();
    score_gradients<rows, false>(t, tile, args.scale, key, place.begin, t.q, t.dout, t.k, t.v, t.lse, t.row_sums,
                                 t.weights, t.dscores);
    __syncthreads();
    add_rows<rows>(t, nullptr, t.dscores, t.k, dq);
    __syncthreads();
  }
  store_tile<rows>(t, dq, args.head_scale, args.dq, first, column, valid);
}

template <class T, int rows>
void launch_backward(Stream stream, std::size_t tiles, const Backward<T>& args) {
  const std::int64_t head_dim = args.q.cols / args.heads;
  launch(stream, grid_of(tiles, args.heads, rows), dim3(threads), Tiles::bytes(rows, head_dim, 6, 2),
         keys_kernel<T, rows>, args);
  launch(stream, grid_of(tiles, args.heads, rows), dim3(threads), Tiles::bytes(rows, head_dim, 5, 2),
         queries_kernel<T, rows>, args);
}

}  // namespace

template <class T>
void general_backward(Stream stream, std::size_t tiles, const Backward<T>& args) {
  if (args.q.cols / args.heads <= tall_tile_head) {
    launch_backward<T, 32>(stream, tiles, args);
  } else {
    launch_backward<T, 16>(stream, tiles, args);
  }
}

template void general_backward(Stream, std::size_t, const Backward<float>&);
template void general_backward(Stream, std::size_t, const Backward<bf16>&);

}  // namespace hrm::kernels::cuda::attention
