// dk and dv on tensor cores: a block takes 64 or 128 keys of one head and walks over the queries that see them, 32 at a
// time, while the next 32 come in. Products have keys as rows, so that weights and gradients of scores are left
// operands of dv and dk as they are.
#include "kernels/attention_backward_cuda.hpp"
#include "kernels/attention_products_cuda.hpp"

namespace hrm::kernels::cuda::attention {
namespace {

/// 16-row blocks of keys per warp. A head of 128 has 128 sums per lane and block, so that two would not fit.
template <int head>
constexpr int key_blocks = head <= 32 ? 2 : 1;
template <int head>
constexpr int tile_keys = warps * 16 * key_blocks<head>;
template <int head>
constexpr std::size_t shared_bytes = (2 * tile_keys<head> + 4 * step) * shared_stride<head> * sizeof(bf16) +
                                     4 * step * sizeof(float);

/// lse (in units of log 2) and row sums of a step of queries lie beside each other in shared memory: (2, step). Threads
/// 0 … 2 step - 1 load one number each; rows past the sequence get 0.
__device__ __forceinline__ float load_statistic(const Backward<bf16>& args, const Place& place, int query) {
  const int i = static_cast<int>(threadIdx.x) % step;
  if (static_cast<int>(threadIdx.x) >= 2 * step || query + i >= place.tile.length) {
    return 0.0F;
  }
  const std::int64_t at = place.head * args.q.rows + place.tile.first + query + i;
  return static_cast<int>(threadIdx.x) < step ? args.lse[at] * static_cast<float>(log2_e) : args.row_sums[at];
}
__device__ __forceinline__ void store_statistic(float* statistics, float value) {
  if (static_cast<int>(threadIdx.x) < 2 * step) {
    statistics[threadIdx.x] = value;
  }
}

/// With rows keys and columns queries: weights = exp2(scale score - lse), 0 where the query does not see the key. `key`
/// is the lane's first row, `query` its first column.
template <int blocks>
__device__ __forceinline__ void weights_of_keys(const AttentionTile& tile, float scale, bool masked, int key, int query,
                                                const float* lse, float (&scores)[blocks][step / 8][4]) {
#pragma unroll
  for (int n = 0; n < step / 8; ++n) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = n * 8 + e % 2;
      const float shift = lse[column];
#pragma unroll
      for (int m = 0; m < blocks; ++m) {
        const float weight = fast_exp2(fmaf(scores[m][n][e], scale, -shift));
        const bool seen = !masked || key + m * 16 + e / 2 * 8 < seen_keys(tile, query + column);
        scores[m][n][e] = seen ? weight : 0.0F;
      }
    }
  }
}

/// Gradients of scores (not yet divided by sqrt(head)): weight (dweight - row sum), rounded; weights rounded too.
template <int blocks>
__device__ __forceinline__ void score_gradients_of_keys(const float (&weights)[blocks][step / 8][4],
                                                        const float (&dweights)[blocks][step / 8][4],
                                                        const float* row_sums, Rounded<blocks, step / 8>& dscores) {
#pragma unroll
  for (int n = 0; n < step / 8; ++n) {
    const float even = row_sums[n * 8];
    const float odd = row_sums[n * 8 + 1];
#pragma unroll
    for (int m = 0; m < blocks; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        dscores[m][n][half] = pack_bf16(weights[m][n][half * 2] * (dweights[m][n][half * 2] - even),
                                        weights[m][n][half * 2 + 1] * (dweights[m][n][half * 2 + 1] - odd));
      }
    }
  }
}

// A lane of a head of 128 holds 128 sums, 16 scores and 16 gradients of weights: two blocks a multiprocessor, of 69
// KiB.
template <int head>
__global__ __launch_bounds__(threads, head == 64 ? 3 : 2) void keys_kernel(Backward<bf16> args) {
  constexpr int blocks = key_blocks<head>;
  constexpr int warp_keys = 16 * blocks;
  constexpr int stride = shared_stride<head>;
  HRM_DYNAMIC_SHARED(bf16, k_rows);                                             // (tile_keys, head)
  bf16* v_rows = k_rows + tile_keys<head> * stride;                             // (tile_keys, head)
  bf16* q_rows = v_rows + tile_keys<head> * stride;                             // (2, step, head)
  bf16* dout_rows = q_rows + 2 * step * stride;                                 // (2, step, head)
  float* statistics = reinterpret_cast<float*>(dout_rows + 2 * step * stride);  // (2, 2, step): lse, row sums
  const Place place = place_of<tile_keys<head>, true>(args.tiles, args.heads);
  const AttentionTile& tile = place.tile;
  if (place.begin >= tile.length) {
    return;
  }
  const int column = place.head * head;
  const int key = place.begin + warp_id() * warp_keys;
  bf16* warp_k = k_rows + warp_id() * warp_keys * stride;
  bf16* warp_v = v_rows + warp_id() * warp_keys * stride;
  const auto copy_queries = [&](int query) {
    const int at = query % (2 * step) * stride;
    copy_rows<head, step>(q_rows + at, args.q, tile.first + query, column, tile.length - query);
    copy_rows<head, step>(dout_rows + at, args.dout, tile.first + query, column, tile.length - query);
    copy_async_commit();
  };

  float dk[blocks][head / 8][4];
  float dv[blocks][head / 8][4];
  clear(dk);
  clear(dv);
  const int start = first_query(tile, place.begin);
  copy_rows<head, tile_keys<head>>(k_rows, args.k, tile.first + place.begin, column, tile.length - place.begin);
  copy_rows<head, tile_keys<head>>(v_rows, args.v, tile.first + place.begin, column, tile.length - place.begin);
  copy_queries(start);
  store_statistic(statistics + start % (2 * step) * 2, load_statistic(args, place, start));
  for (int query = start; query < tile.length; query += step) {
    const int now = query % (2 * step);
    copy_async_wait<0>();
    __syncthreads();  // these queries are there for all, and those before them used by all
    float next = 0.0F;
    if (query + step < tile.length) {
      copy_queries(query + step);
      next = load_statistic(args, place, query + step);
    }
    // The last query of a step sees most.
    if (key < tile.length && key < seen_keys(tile, query + step - 1)) {
      const float* lse = statistics + now * 2 + lane_id() % 4 * 2;
      float weights[blocks][step / 8][4];
      float dweights[blocks][step / 8][4];
      Rounded<blocks, step / 8> rounded;
      multiply_rows<head>(weights, left_lane<head>(warp_k), right_lane<head>(q_rows + now * stride));
      multiply_rows<head>(dweights, left_lane<head>(warp_v), right_lane<head>(dout_rows + now * stride));
      weights_of_keys<blocks>(tile, args.scale, key + warp_keys > seen_keys(tile, query), key + lane_id() / 4,
                              query + lane_id() % 4 * 2, lse, weights);
      round_products(weights, rounded);
      add_product<head>(dv, rounded, left_lane<head>(dout_rows + now * stride));
      score_gradients_of_keys<blocks>(weights, dweights, lse + step, rounded);
      add_product<head>(dk, rounded, left_lane<head>(q_rows + now * stride));
    }
    store_statistic(statistics + (2 * step - now * 2), next);
  }
  if (key < tile.length) {
    const std::int64_t row = tile.first + key;
    store_rows<head>(dk, Factors<blocks>(args.head_scale).of, warp_k, args.dk.row(row) + column, args.dk.stride,
                     tile.length - key);
    store_rows<head>(dv, Factors<blocks>(1.0F).of, warp_v, args.dv.row(row) + column, args.dv.stride,
                     tile.length - key);
  }
}

}  // namespace

bool keys_backward(Stream stream, std::size_t tiles, const Backward<bf16>& args) {
  return with_head(args.q.cols / args.heads, [&](auto head) {
    launch(stream, grid_of(tiles, args.heads, tile_keys<head>), dim3(threads), shared_bytes<head>, keys_kernel<head>,
           args);
  });
}

}  // namespace hrm::kernels::cuda::attention
