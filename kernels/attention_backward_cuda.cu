// Backward pass on tensor cores, without atomic sums: dk and dv by tiles of keys that walk over the queries that see
// them, dq by tiles of queries that walk over the keys they see. Scores and gradients of weights are made in both,
// seven products in place of five, for sums in one fixed order.
#include "kernels/attention_general_cuda.hpp"
#include "kernels/attention_parts_cuda.hpp"

namespace hrm::kernels::cuda {
namespace attention {
namespace {

/// Operands of both kernels. lse and row_sums (heads, T).
struct Backward {
  const AttentionTile* tiles;
  int heads;
  float scale;       // of raw scores, to units of log 2
  float head_scale;  // 1 / sqrt(head)
  Matrix<const bf16> q;
  Matrix<const bf16> k;
  Matrix<const bf16> v;
  Matrix<const bf16> dout;
  const float* lse;
  const float* row_sums;
  Matrix<bf16> dq;
  Matrix<bf16> dk;
  Matrix<bf16> dv;
};

/// All factors of store_rows the same.
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

// ---- dk, dv

/// 16-row blocks of keys per warp. A head of 128 has 128 sums per lane and block, so that two would not fit.
template <int head>
constexpr int key_blocks = head <= 32 ? 2 : 1;
template <int head>
constexpr int tile_keys = 16 * key_blocks<head>* warps;
template <int head>
constexpr std::size_t keys_shared_bytes = (2 * tile_keys<head> + 4 * step) * shared_stride<head> * sizeof(bf16) +
                                          4 * step * sizeof(float);

/// lse (in units of log 2) and row sums of a step of queries lie beside each other in shared memory: (2, step). Threads
/// 0 … 2 step - 1 load one number each; rows past the sequence get 0.
__device__ __forceinline__ float load_statistic(const Backward& args, const Place& place, int query) {
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

template <int head>
__global__ __launch_bounds__(threads, 2) void keys_kernel(Backward args) {
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

// ---- dq

constexpr int query_blocks = 2;
constexpr int warp_queries = 16 * query_blocks;

template <int head>
constexpr std::size_t queries_shared_bytes = (2 * tile_rows + 4 * step) * shared_stride<head> * sizeof(bf16);

/// lse in units of log 2 and row sum of each of the lane's queries; 0 past the sequence.
struct QueryStatistics {
  float lse[query_blocks][2];
  float row_sum[query_blocks][2];
};

__device__ __forceinline__ void load_statistics(const Backward& args, const Place& place, int query,
                                                QueryStatistics& s) {
  const std::int64_t first = place.head * args.q.rows + place.tile.first;
#pragma unroll
  for (int m = 0; m < query_blocks; ++m) {
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
                                                           const float (&scores)[query_blocks][step / 8][4],
                                                           const float (&dweights)[query_blocks][step / 8][4],
                                                           Rounded<query_blocks, step / 8>& dscores) {
#pragma unroll
  for (int m = 0; m < query_blocks; ++m) {
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

template <int head>
__global__ __launch_bounds__(threads, 2) void queries_kernel(Backward args) {
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

  float dq[query_blocks][head / 8][4];
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
      float scores[query_blocks][step / 8][4];
      float dweights[query_blocks][step / 8][4];
      Rounded<query_blocks, step / 8> dscores;
      multiply_rows<head>(scores, left_lane<head>(warp_q), right_lane<head>(k_rows + at));
      multiply_rows<head>(dweights, left_lane<head>(warp_dout), right_lane<head>(v_rows + at));
      score_gradients_of_queries(tile, args.scale, key + step > seen_keys(tile, query), query + lane_id() / 4,
                                 key + lane_id() % 4 * 2, statistics, scores, dweights, dscores);
      add_product<head>(dq, dscores, left_lane<head>(k_rows + at));
    }
  }
  if (query < tile.length) {
    store_rows<head>(dq, Factors<query_blocks>(args.head_scale).of, warp_q, args.dq.row(tile.first + query) + column,
                     args.dq.stride, tile.length - query);
  }
}

// ---- both

/// Lanes that share the sum of one row and head.
constexpr int sum_lanes = 8;
constexpr int sum_threads = 256;

/// sums (heads, T) = Σ_c dout out of each row and head, 0 for padding, where dq, dk, dv become 0 too. Every lane takes
/// `width` channels at a time: 16 bytes, or one where rows are not aligned.
template <class T, int width>
__global__ void row_sums_kernel(std::int64_t used, int heads, Matrix<const T> out, Matrix<const T> dout, float* sums,
                                Matrix<T> dq, Matrix<T> dk, Matrix<T> dv) {
  struct alignas(width * sizeof(T)) Word {
    T values[width];
  };
  const std::int64_t unit = (static_cast<std::int64_t>(blockIdx.x) * sum_threads + threadIdx.x) / sum_lanes;
  const std::int64_t row = unit / heads;
  const std::int64_t head = unit % heads;
  const std::int64_t head_dim = out.cols / heads;
  float sum = 0.0F;
  for (std::int64_t c = static_cast<std::int64_t>(threadIdx.x % sum_lanes) * width; c < head_dim && row < out.rows;
       c += sum_lanes * width) {
    const std::int64_t column = head * head_dim + c;
    if (row < used) {
      const Word a = *reinterpret_cast<const Word*>(out.row(row) + column);
      const Word b = *reinterpret_cast<const Word*>(dout.row(row) + column);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        sum = fmaf(to_float(a.values[i]), to_float(b.values[i]), sum);
      }
    } else {
      *reinterpret_cast<Word*>(dq.row(row) + column) = Word{};
      *reinterpret_cast<Word*>(dk.row(row) + column) = Word{};
      *reinterpret_cast<Word*>(dv.row(row) + column) = Word{};
    }
  }
  for (int offset = sum_lanes / 2; offset > 0; offset /= 2) {
    sum += __shfl_xor_sync(all_lanes, sum, offset);
  }
  if (threadIdx.x % sum_lanes == 0 && row < out.rows) {
    sums[head * out.rows + row] = sum;
  }
}

template <class T, int width>
void make_row_sums(Stream stream, std::int64_t used, std::int64_t heads, Matrix<const T> out, Matrix<const T> dout,
                   std::span<float> sums, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv) {
  const std::int64_t blocks = (out.rows * heads * sum_lanes + sum_threads - 1) / sum_threads;
  launch(stream, dim3(static_cast<unsigned>(blocks)), dim3(sum_threads), 0, row_sums_kernel<T, width>, used, heads, out,
         dout, sums.data(), dq, dk, dv);
}

/// Whether tensor cores could do it.
bool backward_on_tensor_cores(Stream stream, std::size_t tiles, std::int64_t head_dim, const Backward& args) {
  return with_head(head_dim, [&](auto head) {
    launch(stream, grid_of(tiles, args.heads, tile_keys<head>), dim3(threads), keys_shared_bytes<head>,
           keys_kernel<head>, args);
    launch(stream, grid_of(tiles, args.heads, tile_rows), dim3(threads), queries_shared_bytes<head>,
           queries_kernel<head>, args);
  });
}

}  // namespace
}  // namespace attention

template <class T>
void attention_backward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t used, std::int64_t heads,
                        Matrix<const T> q, Matrix<const T> k, Matrix<const T> v, Matrix<const T> out,
                        std::span<const float> lse, Matrix<const T> dout, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv,
                        std::span<float> row_sums) {
  using namespace attention;
  constexpr int width = Pack16<T>::count;
  const std::int64_t head_dim = q.cols / heads;
  const bool aligned = head_dim % width == 0 && rows_aligned(q) && rows_aligned(k) && rows_aligned(v) &&
                       rows_aligned(out) && rows_aligned(dout) && rows_aligned(dq) && rows_aligned(dk) &&
                       rows_aligned(dv);
  if (aligned) {
    make_row_sums<T, width>(stream, used, heads, out, dout, row_sums, dq, dk, dv);
  } else {
    make_row_sums<T, 1>(stream, used, heads, out, dout, row_sums, dq, dk, dv);
  }
  if constexpr (std::is_same_v<T, bf16>) {
    const auto head_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
    const Backward args{tiles.data(),
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
    if (aligned && backward_on_tensor_cores(stream, tiles.size(), head_dim, args)) {
      return;
    }
  }
  general_backward<T>(stream, tiles, heads, q, k, v, dout, lse, row_sums, dq, dk, dv);
}

template void attention_backward(Stream, std::span<const AttentionTile>, std::int64_t, std::int64_t,
                                 Matrix<const float>, Matrix<const float>, Matrix<const float>, Matrix<const float>,
                                 std::span<const float>, Matrix<const float>, Matrix<float>, Matrix<float>,
                                 Matrix<float>, std::span<float>);
template void attention_backward(Stream, std::span<const AttentionTile>, std::int64_t, std::int64_t, Matrix<const bf16>,
                                 Matrix<const bf16>, Matrix<const bf16>, Matrix<const bf16>, std::span<const float>,
                                 Matrix<const bf16>, Matrix<bf16>, Matrix<bf16>, Matrix<bf16>, std::span<float>);

}  // namespace hrm::kernels::cuda
