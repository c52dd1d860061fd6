// Attention in plain float32 for every type, head size and stride: tiles of `rows` rows in shared memory as float32,
// results too. Every thread makes (rows / 16) x (rows / 8) scores; then every warp adds to its rows, lanes along the
// head.
#include "kernels/attention_general_cuda.hpp"

#include <limits>

#include "kernels/attention_parts_cuda.hpp"

namespace hrm::kernels::cuda::attention {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

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

/// Both kernels of the backward pass: keys gather dk, dv from the queries that see them, queries dq from keys.
template <class T>
struct Backward {
  const AttentionTile* tiles;
  int heads;
  float scale;       // of raw scores, to units of log 2
  float head_scale;  // 1 / sqrt(head)
  Matrix<const T> q;
  Matrix<const T> k;
  Matrix<const T> v;
  Matrix<const T> dout;
  const float* lse;
  const float* row_sums;
  Matrix<T> dq;
  Matrix<T> dk;
  Matrix<T> dv;
};

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
void launch_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                    Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse) {
  const std::int64_t head_dim = q.cols / heads;
  launch(stream, grid_of(tiles.size(), heads, rows), dim3(threads), Tiles::bytes(rows, head_dim, 4, 1),
         forward_kernel<T, rows>, tiles.data(), heads, score_scale(head_dim), q, k, v, out, lse.data());
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

// Larger heads in lower tiles: shared memory holds up to six.
constexpr std::int64_t tall_tile_head = 128;

template <class T>
void general_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                     Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse) {
  if (q.cols / heads <= tall_tile_head) {
    launch_forward<T, 32>(stream, tiles, heads, q, k, v, out, lse);
  } else {
    launch_forward<T, 16>(stream, tiles, heads, q, k, v, out, lse);
  }
}

template <class T>
void general_backward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t heads, Matrix<const T> q,
                      Matrix<const T> k, Matrix<const T> v, Matrix<const T> dout, std::span<const float> lse,
                      std::span<const float> row_sums, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv) {
  const std::int64_t head_dim = q.cols / heads;
  const auto head_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
  const Backward<T> args{tiles.data(),
                         static_cast<int>(heads),
                         score_scale(head_dim),
                         head_scale,
                         q,
                         k,
                         v,
                         dout,
                         lse.data(),
                         row_sums.data(),
                         dq,
                         dk,
                         dv};
  if (head_dim <= tall_tile_head) {
    launch_backward<T, 32>(stream, tiles.size(), args);
  } else {
    launch_backward<T, 16>(stream, tiles.size(), args);
  }
}

template void general_forward(Stream, std::span<const AttentionTile>, std::int64_t, Matrix<const float>,
                              Matrix<const float>, Matrix<const float>, Matrix<float>, std::span<float>);
template void general_forward(Stream, std::span<const AttentionTile>, std::int64_t, Matrix<const bf16>,
                              Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>, std::span<float>);
template void general_backward(Stream, std::span<const AttentionTile>, std::int64_t, Matrix<const float>,
                               Matrix<const float>, Matrix<const float>, Matrix<const float>, std::span<const float>,
                               std::span<const float>, Matrix<float>, Matrix<float>, Matrix<float>);
template void general_backward(Stream, std::span<const AttentionTile>, std::int64_t, Matrix<const bf16>,
                               Matrix<const bf16>, Matrix<const bf16>, Matrix<const bf16>, std::span<const float>,
                               std::span<const float>, Matrix<bf16>, Matrix<bf16>, Matrix<bf16>);

}  // namespace hrm::kernels::cuda::attention
