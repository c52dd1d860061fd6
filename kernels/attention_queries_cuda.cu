// dq on tensor cores: a block takes 128 queries of one head, its warps 32 each, and walks over the keys that they see,
// 32 at a time, while the next 32 come in.
#include "kernels/attention_backward_cuda.hpp"
#include "kernels/attention_products_cuda.hpp"

namespace hrm::kernels::cuda::attention {
namespace {

constexpr int blocks = 2;
constexpr int warp_queries = 16 * blocks;

template <int head>
constexpr std::size_t shared_bytes = (2 * tile_rows + 4 * step) * shared_stride<head> * sizeof(bf16);

/// lse in units of log 2 and row sum of each of the lane's queries; 0 past the sequence.
struct QueryStatistics {
  float lse[blocks][2];
  float row_sum[blocks][2];
};

__device__ __forceinline__ void load_statistics(const Backward<bf16>& args, const Place& place, int query,
                                                QueryStatistics& s) {
  const std::int64_t first = place.head * args.q.rows + place.tile.first;
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = query + m * 16 + half * 8 + lane_id() / 4;
      const bool inside = row < place.tile.length;
      s.lse[m][half] = inside ? args.lse[first + row] * static_cast<float>(log2_e) : 0.0F;
      s.row_sum[m][half] = inside ? args.row_sums[first + row] : 0.0F;
    }
  }
}

/// Gradients of scores as in score_gradients_of_keys, with rows queries and columns keys, straight from the scores.
__device__ __forceinline__ void score_gradients_of_queries(const AttentionTile& tile, float scale, bool masked,
                                                           int query, int key, const QueryStatistics& s,
                                                           const float (&scores)[blocks][step / 8][4],
                                                           const float (&dweights)[blocks][step / 8][4],
                                                           Rounded<blocks, step / 8>& dscores) {
#pragma unroll
  for (int m = 0; m < blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int seen = masked ? seen_keys(tile, query + m * 16 + half * 8) - key : step;
#pragma unroll
      for (int n = 0; n < step / 8; ++n) {
        float gradient[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const float weight = fast_exp2(fmaf(scores[m][n][half * 2 + e], scale, -s.lse[m][half]));
          gradient[e] = n * 8 + e < seen ? weight * (dweights[m][n][half * 2 + e] - s.row_sum[m][half]) : 0.0F;
        }
        dscores[m][n][half] = pack_bf16(gradient[0], gradient[1]);
      }
    }
  }
}

// A lane of a head of 128 holds 128 sums, 32 scores and 32 gradients of weights: two blocks a multiprocessor. Of 102
// KiB of shared memory each an H100 has two, an A100 one.
template <int head>
__global__ __launch_bounds__(threads, 2) void queries_kernel(Backward<bf16> args) {
  constexpr int stride = shared_stride<head>;
  HRM_DYNAMIC_SHARED(bf16, q_rows);               // (tile_rows, head)
  bf16* dout_rows = q_rows + tile_rows * stride;  // (tile_rows, head)
  bf16* k_rows = dout_rows + tile_rows * stride;  // (2, step, head)
  bf16* v_rows = k_rows + 2 * step * stride;      // (2, step, head)
  const Place place = place_of<tile_rows, false>(args.tiles, args.heads);
  const AttentionTile& tile = place.tile;
  const int column = place.head * head;
  const int query = place.begin + warp_id() * warp_queries;
  bf16* warp_q = q_rows + warp_id() * warp_queries * stride;
  const bf16* warp_dout = dout_rows + warp_id() * warp_queries * stride;
  const int end = seen_by(tile, place.begin, tile_rows);
  const int warp_end = seen_by(tile, query, warp_queries);
  const auto copy_keys = [&](int key) {
    const int at = key % (2 * step) * stride;
    copy_rows<head, step>(k_rows + at, args.k, tile.first + key, column, tile.length - key);
    copy_rows<head, step>(v_rows + at, args.v, tile.first + key, column, tile.length - key);
    copy_async_commit();
  };

  float dq[blocks][head / 8][4];
  clear(dq);
  copy_rows<head, tile_rows>(q_rows, args.q, tile.first + place.begin, column, tile.length - place.begin);
  copy_rows<head, tile_rows>(dout_rows, args.dout, tile.first + place.begin, column, tile.length - place.begin);
  copy_keys(0);
  QueryStatistics statistics;
  load_statistics(args, place, query, statistics);
  for (int key = 0; key < end; key += step) {
    copy_async_wait<0>();
    __syncthreads();  // these keys are there for all, and those before them used by all
    if (key + step < end) {
      copy_keys(key + step);
    }
    if (key < warp_end) {
      const int at = key % (2 * step) * stride;
      float scores[blocks][step / 8][4];
      float dweights[blocks][step / 8][4];
      Rounded<blocks, step / 8> dscores;
      multiply_rows<head>(scores, left_lane<head>(warp_q), right_lane<head>(k_rows + at));
      multiply_rows<head>(dweights, left_lane<head>(warp_dout), right_lane<head>(v_rows + at));
      score_gradients_of_queries(tile, args.scale, key + step > seen_keys(tile, query), query + lane_id() / 4,
                                 key + lane_id() % 4 * 2, statistics, scores, dweights, dscores);
      add_product<head>(dq, dscores, left_lane<head>(k_rows + at));
    }
  }
  if (query < tile.length) {
    store_rows<head>(dq, Factors<blocks>(args.head_scale).of, warp_q, args.dq.row(tile.first + query) + column,
                     args.dq.stride, tile.length - query);
  }
}

}  // namespace

bool queries_backward(Stream stream, std::size_t tiles, const Backward<bf16>& args) {
  return with_head(args.q.cols / args.heads, [&](auto head) {
    launch(stream, grid_of(tiles, args.heads, tile_rows), dim3(threads), shared_bytes<head>, queries_kernel<head>,
           args);
  });
}

}  // namespace hrm::kernels::cuda::attention
