// Scores are held transposed, (keys, queries): lanes run over queries, so softmax needs no sums across lanes, keys and
// values are read as scalars in their own layout, and any head size works. Key j is visible to query i exactly when
// i >= j or j < P (P the prefix; 0 for the causal mask): the keys of query i are always [0, visible(i)).
#include "kernels/attention.hpp"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_host.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/simd_tiles-inl.h"

#ifndef HRM_KERNELS_ATTENTION_HOST
#define HRM_KERNELS_ATTENTION_HOST
namespace hrm::kernels {
namespace {

constexpr std::int64_t key_tile = 64;      // keys per tile
constexpr std::int64_t query_block = 256;  // queries per forward unit, a multiple of every strip
constexpr std::int64_t widest_strip = 32;  // queries per strip: two vectors, at most 32 lanes
constexpr std::int64_t decode_chunk = 64;  // cached keys per softmax step
constexpr std::int64_t largest_head = 512;
// Rows lie pages apart, where the processor does not prefetch by itself.
constexpr std::int64_t prefetch_rows = 12;
constexpr double log2_e = 1.4426950408889634;
constexpr double ln_2 = 0.6931471805599453;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

/// Head size padded for register tiles and for vectors on every target.
constexpr std::int64_t padded_head(std::int64_t head_dim) {
  return round_up(head_dim, 16);
}

/// Factor of q that gives scores in units of log 2.
float score_scale(std::int64_t head_dim) {
  return static_cast<float>(log2_e / std::sqrt(static_cast<double>(head_dim)));
}

/// One sequence of a pack.
struct Sequence {
  std::int64_t first;  // row of its first token
  std::int64_t length;
  std::int64_t prefix;  // 0 for the causal mask

  std::int64_t visible(std::int64_t query) const { return std::min(length, std::max(prefix, query + 1)); }
};

Sequence sequence(const SequenceLayout& layout, std::int64_t s) {
  const auto i = static_cast<std::size_t>(s);
  const std::int64_t first = layout.cu_seqlens[i];
  return {first, layout.cu_seqlens[i + 1] - first, layout.mask == MaskType::causal ? 0 : layout.prefix_lens[i]};
}

std::int64_t sequence_count(const SequenceLayout& layout) {
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(layout.cu_seqlens.size()) - 1);
}

std::int64_t used_rows(const SequenceLayout& layout) {
  return layout.cu_seqlens.empty() ? 0 : layout.cu_seqlens.back();
}

/// Hands out parts of one thread's scratch.
class Scratch {
 public:
  explicit Scratch(float* memory) : next_(memory) {}
  float* take(std::int64_t count) {
    float* part = next_;
    next_ += round_up(count, 16);
    return part;
  }

 private:
  float* next_;
};

/// Calls work(unit, scratch of the thread) for all units; which thread does a unit is left to chance, what it computes
/// is not.
template <class Work>
void share_units(std::int64_t units, AttentionWorkspace& workspace, const Work& work) {
  const int threads = std::min(omp_get_max_threads(), workspace.threads);
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
  for (std::int64_t unit = 0; unit < units; ++unit) {
    work(unit, workspace.memory.data() + omp_get_thread_num() * workspace.per_thread);
  }
}

template <class T>
void zero_padding(Matrix<T> x, std::int64_t used) {
  for (std::int64_t row = used; row < x.rows; ++row) {
    std::fill_n(x.row(row), x.cols, T{});
  }
}

}  // namespace
}  // namespace hrm::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

/// Queries of one strip.
std::int64_t strip_width() {
  return 2 * lanes();
}

/// to (rows, padded) float32 = scale * x; columns beyond x.cols become 0.
template <class T>
void pack_rows(Matrix<const T> x, float scale, float* to, std::int64_t padded) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const T* in = x.row(r);
    const T* later = x.row(std::min(r + prefetch_rows, x.rows - 1));
    float* out = to + r * padded;
    for_lanes(x.cols, [&](std::int64_t i, auto count) {
      hwy::Prefetch(later + i);
      store(hn::Mul(load(in + i, count), constant(scale)), out + i, Full{});
    });
    std::fill(out + round_up(x.cols, lanes()), out + padded, 0.0F);
  }
}

/// x = scale * from, (rows, padded) float32.
template <class T>
void unpack_rows(const float* from, std::int64_t padded, float scale, Matrix<T> x) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const float* in = from + r * padded;
    T* out = x.row(r);
    for_lanes(x.cols, [&](std::int64_t i, auto count) {
      store(hn::Mul(load(in + i, Full{}), constant(scale)), out + i, count);
    });
  }
}

/// The lanes of the vector at query `i` that see key j >= prefix: i + lane >= j.
HWY_INLINE auto sees(std::int64_t i, std::int64_t j) {
  const FloatTag d;
  return hn::Ge(hn::Iota(d, 0.0F), hn::Set(d, static_cast<float>(j - i)));
}

/// Where a strip of queries meets a tile of keys.
struct Crossing {
  std::int64_t query;  // first query of the strip (in the sequence)
  std::int64_t key;    // first key of the tile
  std::int64_t keys;   // keys of the tile that some query of the strip sees
  std::int64_t open;   // leading keys that all queries of the strip see
};

Crossing cross(const Sequence& seq, std::int64_t query, std::int64_t count, std::int64_t key) {
  const std::int64_t keys = std::clamp<std::int64_t>(seq.visible(query + count - 1) - key, 0, key_tile);
  return {query, key, keys, std::clamp<std::int64_t>(seq.visible(query) - key, 0, keys)};
}

/// One vector column of a strip: scores (keys, queries) become exp2(score - new maximum); running maximum, sum and the
/// factor for what was accumulated before.
HWY_INLINE void softmax_column(const Crossing& at, std::int64_t query, float* scores, std::int64_t width,
                               float* maximum, float* sum, float* factor) {
  const FloatTag d;
  const FloatVec old = hn::LoadU(d, maximum);
  FloatVec largest = old;
  for (std::int64_t j = 0; j < at.open; ++j) {
    largest = hn::Max(largest, hn::LoadU(d, scores + j * width));
  }
  for (std::int64_t j = at.open; j < at.keys; ++j) {
    const FloatVec score = hn::LoadU(d, scores + j * width);
    const FloatVec seen = hn::IfThenElse(sees(query, at.key + j), score, constant(minus_infinity));
    hn::StoreU(seen, d, scores + j * width);
    largest = hn::Max(largest, seen);
  }
  const FloatVec shrink = exp2_of(hn::Sub(old, largest));
  FloatVec total = hn::Mul(hn::LoadU(d, sum), shrink);
  for (std::int64_t j = 0; j < at.keys; ++j) {
    const FloatVec p = exp2_of(hn::Sub(hn::LoadU(d, scores + j * width), largest));
    hn::StoreU(p, d, scores + j * width);
    total = hn::Add(total, p);
  }
  hn::StoreU(largest, d, maximum);
  hn::StoreU(total, d, sum);
  hn::StoreU(shrink, d, factor);
}

/// Forward state of one strip of queries, all transposed.
struct Strip {
  float* query;    // (padded head, width), scaled by log2(e) / sqrt(d)
  float* out;      // (padded head, width), not yet divided by sum
  float* maximum;  // (width)
  float* sum;      // (width)
};

/// One strip against one tile of keys and values (keys, padded head) in float32.
void attend_tile(const Crossing& at, std::int64_t cols, std::int64_t head_dim, const float* keys, const float* values,
                 float* scores, const Strip& strip) {
  const std::int64_t width = strip_width();
  const std::int64_t padded = padded_head(head_dim);
  tile_product<false>(round_up(at.keys, tile_rows), cols, head_dim, {keys, padded, 1}, strip.query, width, scores,
                      width);
  float factor[widest_strip];
  for (std::int64_t c = 0; c < cols; c += lanes()) {
    softmax_column(at, at.query + c, scores + c, width, strip.maximum + c, strip.sum + c, factor + c);
  }
  for (std::int64_t r = 0; r < head_dim; ++r) {
    for (std::int64_t c = 0; c < cols; c += lanes()) {
      float* out = strip.out + r * width + c;
      store(hn::Mul(load(out, Full{}), load(factor + c, Full{})), out, Full{});
    }
  }
  tile_product<true>(round_up(head_dim, tile_rows), cols, at.keys, {values, 1, padded}, scores, width, strip.out,
                     width);
}

template <class T>
struct ForwardTask {
  Sequence seq;
  Matrix<const T> q;  // (length, head_dim): the rows of this sequence and the columns of this head, as the others
  Matrix<const T> k;
  Matrix<const T> v;
  Matrix<T> out;
  float* lse;  // (length)
};

template <class T>
void open_strip(const ForwardTask<T>& task, std::int64_t query, std::int64_t count, float* rows, const Strip& strip) {
  const std::int64_t width = strip_width();
  const std::int64_t padded = padded_head(task.q.cols);
  pack_rows(task.q.slice(query, count), score_scale(task.q.cols), rows, padded);
  std::fill_n(rows + count * padded, (width - count) * padded, 0.0F);
  transpose(width, padded, rows, padded, strip.query, width);
  std::fill_n(strip.out, padded * width, 0.0F);
  std::fill_n(strip.maximum, width, minus_infinity);
  std::fill_n(strip.sum, width, 0.0F);
}

template <class T>
void close_strip(const ForwardTask<T>& task, std::int64_t query, std::int64_t count, float* rows, const Strip& strip) {
  const std::int64_t width = strip_width();
  const std::int64_t padded = padded_head(task.q.cols);
  for (std::int64_t c = 0; c < width; c += lanes()) {
    const FloatVec inverse = hn::Div(constant(1.0F), load(strip.sum + c, Full{}));
    for (std::int64_t r = 0; r < task.q.cols; ++r) {
      float* out = strip.out + r * width + c;
      store(hn::Mul(load(out, Full{}), inverse), out, Full{});
    }
  }
  transpose(padded, width, strip.out, width, rows, padded);
  unpack_rows(rows, padded, 1.0F, task.out.slice(query, count));
  for (std::int64_t i = 0; i < count; ++i) {
    task.lse[query + i] = strip.maximum[i] * static_cast<float>(ln_2) + std::log(strip.sum[i]);
  }
}

/// Queries [first, first + count) of one head of one sequence.
template <class T>
void forward_block(const ForwardTask<T>& task, std::int64_t first, std::int64_t count, float* memory) {
  const std::int64_t width = strip_width();
  const std::int64_t padded = padded_head(task.q.cols);
  Scratch scratch(memory);
  float* keys = scratch.take(key_tile * padded);
  float* values = scratch.take(key_tile * padded);
  float* scores = scratch.take(key_tile * width);
  Strip strips[query_block];
  for (std::int64_t i = 0; i < count; i += width) {
    strips[i / width] = {scratch.take(padded * width), scratch.take(padded * width), scratch.take(width),
                         scratch.take(width)};
    open_strip(task, first + i, std::min(width, count - i), keys, strips[i / width]);
  }
  for (std::int64_t key = 0; key < task.seq.visible(first + count - 1); key += key_tile) {
    const std::int64_t loaded = std::min(key_tile, task.seq.length - key);
    pack_rows(task.k.slice(key, loaded), 1.0F, keys, padded);
    pack_rows(task.v.slice(key, loaded), 1.0F, values, padded);
    for (std::int64_t i = 0; i < count; i += width) {
      const std::int64_t queries = std::min(width, count - i);
      const Crossing at = cross(task.seq, first + i, queries, key);
      if (at.keys > 0) {
        attend_tile(at, round_up(queries, lanes()), task.q.cols, keys, values, scores, strips[i / width]);
      }
    }
  }
  for (std::int64_t i = 0; i < count; i += width) {
    close_strip(task, first + i, std::min(width, count - i), keys, strips[i / width]);
  }
}

/// Number of query blocks of all sequences and, for a unit, its place: later blocks of a sequence first (they see
/// more).
struct ForwardUnit {
  std::int64_t sequence;
  std::int64_t head;
  std::int64_t block;
};

std::int64_t block_count(const SequenceLayout& layout, std::int64_t s) {
  return (sequence(layout, s).length + query_block - 1) / query_block;
}

ForwardUnit find_unit(const SequenceLayout& layout, std::int64_t heads, std::int64_t unit) {
  std::int64_t s = 0;
  while (unit >= heads * block_count(layout, s)) {
    unit -= heads * block_count(layout, s);
    ++s;
  }
  return {s, unit % heads, block_count(layout, s) - 1 - unit / heads};
}

template <class T>
void forward(const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q, Matrix<const T> k, Matrix<const T> v,
             Matrix<T> out, std::span<float> lse, AttentionWorkspace& workspace) {
  const std::int64_t head_dim = q.cols / heads;
  std::int64_t units = 0;
  for (std::int64_t s = 0; s < sequence_count(layout); ++s) {
    units += heads * block_count(layout, s);
  }
  share_units(units, workspace, [&](std::int64_t n, float* memory) {
    const ForwardUnit unit = find_unit(layout, heads, n);
    const Sequence seq = sequence(layout, unit.sequence);
    const auto part = [&](auto x) { return x.columns(unit.head * head_dim, head_dim).slice(seq.first, seq.length); };
    const std::int64_t first = unit.block * query_block;
    const ForwardTask<T> task{seq, part(q), part(k), part(v), part(out), lse.data() + unit.head * q.rows + seq.first};
    forward_block(task, first, std::min(query_block, seq.length - first), memory);
  });
  const std::int64_t used = used_rows(layout);
  zero_padding(out, used);
  for (std::int64_t h = 0; h < heads; ++h) {
    std::fill_n(lse.data() + h * q.rows + used, q.rows - used, 0.0F);
  }
}

template <class T>
struct BackwardTask {
  Sequence seq;
  Matrix<const T> q;  // (length, head_dim), as in ForwardTask
  Matrix<const T> k;
  Matrix<const T> v;
  Matrix<const T> out;
  Matrix<const T> dout;
  const float* lse;  // (length)
  Matrix<T> dq;
  Matrix<T> dk;
  Matrix<T> dv;
};

/// Scratch of one (sequence, head) in the backward pass.
struct BackwardScratch {
  BackwardScratch(float* memory, std::int64_t length, std::int64_t padded) : scratch(memory) {
    const std::int64_t rows = round_up(length, key_tile);
    const std::int64_t width = strip_width();
    keys = scratch.take(rows * padded);
    values = scratch.take(rows * padded);
    dkeys = scratch.take(rows * padded);
    dvalues = scratch.take(rows * padded);
    query_rows = scratch.take(width * padded);
    dout_rows = scratch.take(width * padded);
    query = scratch.take(padded * width);
    dout = scratch.take(padded * width);
    dquery = scratch.take(padded * width);
    weights = scratch.take(key_tile * width);
    dscores = scratch.take(key_tile * width);
    lse = scratch.take(width);
    delta = scratch.take(width);
  }

  Scratch scratch;
  float* keys;  // (length, padded head), as dkeys, values, dvalues
  float* values;
  float* dkeys;  // not yet scaled by 1 / sqrt(d)
  float* dvalues;
  float* query_rows;  // (width, padded head) scaled by log2(e) / sqrt(d)
  float* dout_rows;   // (width, padded head)
  float* query;       // (padded head, width) transposed and scaled by log2(e) / sqrt(d)
  float* dout;        // (padded head, width) transposed
  float* dquery;      // (padded head, width) transposed, not yet scaled
  float* weights;     // (key_tile, width): scores, then softmax weights
  float* dscores;     // (key_tile, width): gradients of weights, then of scores
  float* lse;         // (width) in units of log 2
  float* delta;       // (width) Σ_c dout out
};

/// weights = exp2(scores - lse) where visible, dscores = weights (dweights - delta), for `rows` keys of the tile.
HWY_INLINE void softmax_gradient(const Crossing& at, std::int64_t rows, std::int64_t cols, const BackwardScratch& s) {
  const std::int64_t width = strip_width();
  for (std::int64_t c = 0; c < cols; c += lanes()) {
    const FloatVec lse = load(s.lse + c, Full{});
    const FloatVec delta = load(s.delta + c, Full{});
    for (std::int64_t j = 0; j < rows; ++j) {
      float* weight = s.weights + j * width + c;
      float* gradient = s.dscores + j * width + c;
      FloatVec p = exp2_of(hn::Sub(load(weight, Full{}), lse));
      if (j >= at.open) {
        p = hn::IfThenElseZero(sees(at.query + c, at.key + j), p);
      }
      store(p, weight, Full{});
      store(hn::Mul(p, hn::Sub(load(gradient, Full{}), delta)), gradient, Full{});
    }
  }
}

void backward_tile(const Crossing& at, std::int64_t queries, std::int64_t head_dim, const BackwardScratch& s) {
  const std::int64_t width = strip_width();
  const std::int64_t padded = padded_head(head_dim);
  const std::int64_t cols = round_up(queries, lanes());
  const std::int64_t head_cols = round_up(head_dim, lanes());
  const std::int64_t rows = round_up(at.keys, tile_rows);
  const std::int64_t offset = at.key * padded;
  tile_product<false>(rows, cols, head_dim, {s.keys + offset, padded, 1}, s.query, width, s.weights, width);
  tile_product<false>(rows, cols, head_dim, {s.values + offset, padded, 1}, s.dout, width, s.dscores, width);
  softmax_gradient(at, rows, cols, s);
  tile_product<true>(rows, head_cols, queries, {s.weights, width, 1}, s.dout_rows, padded, s.dvalues + offset, padded);
  tile_product<true>(rows, head_cols, queries, {s.dscores, width, 1}, s.query_rows, padded, s.dkeys + offset, padded);
  tile_product<true>(round_up(head_dim, tile_rows), cols, at.keys, {s.keys + offset, 1, padded}, s.dscores, width,
                     s.dquery, width);
}

template <class T>
void open_backward_strip(const BackwardTask<T>& task, std::int64_t query, std::int64_t count,
                         const BackwardScratch& s) {
  const std::int64_t width = strip_width();
  const std::int64_t head_dim = task.q.cols;
  const std::int64_t padded = padded_head(head_dim);
  pack_rows(task.q.slice(query, count), score_scale(head_dim), s.query_rows, padded);
  pack_rows(task.dout.slice(query, count), 1.0F, s.dout_rows, padded);
  std::fill_n(s.query_rows + count * padded, (width - count) * padded, 0.0F);
  std::fill_n(s.dout_rows + count * padded, (width - count) * padded, 0.0F);
  transpose(width, padded, s.query_rows, padded, s.query, width);
  transpose(width, padded, s.dout_rows, padded, s.dout, width);
  std::fill_n(s.dquery, padded * width, 0.0F);
  std::fill_n(s.lse, width, 0.0F);
  std::fill_n(s.delta, width, 0.0F);
  for (std::int64_t i = 0; i < count; ++i) {
    FloatVec sum = zero_vector();
    for_lanes(head_dim, [&](std::int64_t c, auto n) {
      sum = hn::MulAdd(load(task.out.row(query + i) + c, n), load(task.dout.row(query + i) + c, n), sum);
    });
    s.delta[i] = sum_of(sum);
    s.lse[i] = task.lse[query + i] * static_cast<float>(log2_e);
  }
}

/// One head of one sequence: strips of queries in order, so that every sum has one order.
template <class T>
void backward_head(const BackwardTask<T>& task, float* memory) {
  const std::int64_t length = task.seq.length;
  const std::int64_t head_dim = task.q.cols;
  const std::int64_t padded = padded_head(head_dim);
  const std::int64_t width = strip_width();
  const BackwardScratch s(memory, length, padded);
  pack_rows(task.k, 1.0F, s.keys, padded);
  pack_rows(task.v, 1.0F, s.values, padded);
  std::fill_n(s.dkeys, length * padded, 0.0F);
  std::fill_n(s.dvalues, length * padded, 0.0F);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(head_dim)));
  for (std::int64_t query = 0; query < length; query += width) {
    const std::int64_t count = std::min(width, length - query);
    open_backward_strip(task, query, count, s);
    for (std::int64_t key = 0; key < task.seq.visible(query + count - 1); key += key_tile) {
      backward_tile(cross(task.seq, query, count, key), count, head_dim, s);
    }
    transpose(padded, width, s.dquery, width, s.query_rows, padded);
    unpack_rows(s.query_rows, padded, scale, task.dq.slice(query, count));
  }
  // query_rows carry log2(e) / sqrt(d), of which only 1 / sqrt(d) belongs into dk.
  unpack_rows(s.dkeys, padded, static_cast<float>(ln_2), task.dk);
  unpack_rows(s.dvalues, padded, 1.0F, task.dv);
}

template <class T>
void backward(const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q, Matrix<const T> k, Matrix<const T> v,
              Matrix<const T> out, std::span<const float> lse, Matrix<const T> dout, Matrix<T> dq, Matrix<T> dk,
              Matrix<T> dv, AttentionWorkspace& workspace) {
  const std::int64_t head_dim = q.cols / heads;
  share_units(sequence_count(layout) * heads, workspace, [&](std::int64_t unit, float* memory) {
    const Sequence seq = sequence(layout, unit / heads);
    const std::int64_t head = unit % heads;
    const auto part = [&](auto x) { return x.columns(head * head_dim, head_dim).slice(seq.first, seq.length); };
    const float* head_lse = lse.data() + head * q.rows + seq.first;
    const BackwardTask<T> task{seq,        part(q),  part(k),  part(v),  part(out),
                               part(dout), head_lse, part(dq), part(dk), part(dv)};
    backward_head(task, memory);
  });
  for (const Matrix<T>& x : {dq, dk, dv}) {
    zero_padding(x, used_rows(layout));
  }
}

/// One query against `length` cached rows: softmax over chunks of keys with a running maximum.
template <class T>
void decode_head(const T* q, const T* keys, const T* values, std::int64_t length, std::int64_t stride,
                 std::int64_t head_dim, T* out) {
  alignas(64) float sum_out[largest_head] = {};
  alignas(64) float query[largest_head] = {};
  alignas(64) float scores[decode_chunk];
  for_lanes(head_dim, [&](std::int64_t c, auto n) {
    store(hn::Mul(load(q + c, n), constant(score_scale(head_dim))), query + c, Full{});
  });
  float maximum = minus_infinity;
  float total = 0.0F;
  for (std::int64_t first = 0; first < length; first += decode_chunk) {
    const std::int64_t count = std::min(decode_chunk, length - first);
    std::fill_n(scores, decode_chunk, minus_infinity);
    for (std::int64_t j = 0; j < count; ++j) {
      FloatVec sum = zero_vector();
      const T* key = keys + (first + j) * stride;
      for_lanes(head_dim,
                [&](std::int64_t c, auto n) { sum = hn::MulAdd(load(key + c, n), load(query + c, Full{}), sum); });
      scores[j] = sum_of(sum);
    }
    const float old = maximum;
    maximum = std::max(old, *std::max_element(scores, scores + count));
    const float factor = hn::GetLane(exp2_of(constant(old - maximum)));
    FloatVec weights = zero_vector();
    for_lanes(decode_chunk, [&](std::int64_t j, auto) {
      const FloatVec p = exp2_of(hn::Sub(load(scores + j, Full{}), constant(maximum)));
      store(p, scores + j, Full{});
      weights = hn::Add(weights, p);
    });
    total = total * factor + sum_of(weights);
    for_lanes(head_dim, [&](std::int64_t c, auto n) {
      FloatVec sum = hn::Mul(load(sum_out + c, Full{}), constant(factor));
      for (std::int64_t j = 0; j < count; ++j) {
        sum = hn::MulAdd(load(values + (first + j) * stride + c, n), constant(scores[j]), sum);
      }
      store(sum, sum_out + c, Full{});
    });
  }
  for_lanes(head_dim,
            [&](std::int64_t c, auto n) { store(hn::Div(load(sum_out + c, Full{}), constant(total)), out + c, n); });
}

template <class T>
void decode(std::int64_t heads, Matrix<const T> q, std::span<const T* const> keys, std::span<const T* const> values,
            std::span<const std::int32_t> lengths, std::int64_t cache_stride, Matrix<T> out) {
  const std::int64_t head_dim = q.cols / heads;
#pragma omp parallel for schedule(dynamic, 1)
  for (std::int64_t unit = 0; unit < q.rows * heads; ++unit) {
    const std::int64_t row = unit / heads;
    const auto b = static_cast<std::size_t>(row);
    const std::int64_t column = unit % heads * head_dim;
    decode_head(q.row(row) + column, keys[b] + column, values[b] + column, lengths[b], cache_stride, head_dim,
                out.row(row) + column);
  }
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {
namespace {

void check(const SequenceLayout& layout, std::int64_t head_dim, const AttentionWorkspace& workspace) {
  for (std::int64_t s = 0; s < sequence_count(layout); ++s) {
    ensure(sequence(layout, s).length <= workspace.longest, "attention: a sequence is longer than its workspace");
  }
  ensure(head_dim <= workspace.head_dim, "attention: heads are larger than their workspace");
}

}  // namespace

AttentionWorkspace::AttentionWorkspace(std::int64_t longest_sequence, std::int64_t head_size)
    : longest(longest_sequence), head_dim(head_size), threads(omp_get_max_threads()) {
  const std::int64_t padded = padded_head(head_dim);
  const std::int64_t strips = query_block / 2;  // the narrowest strip, of a target without vectors, has 2 queries
  const std::int64_t forward_floats =
      2 * key_tile * padded + key_tile * widest_strip + 2 * query_block * padded + strips * 2 * widest_strip;
  const std::int64_t backward_floats = 4 * round_up(longest, key_tile) * padded + 5 * widest_strip * padded +
                                       2 * key_tile * widest_strip + 2 * widest_strip;
  per_thread = round_up(std::max(forward_floats, backward_floats), 1024);
  memory = Buffer<float>(threads * per_thread, MemoryPart::workspace);
}

template <class T>
void attention_forward(Stream, const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q, Matrix<const T> k,
                       Matrix<const T> v, Matrix<T> out, std::span<float> lse, AttentionWorkspace& workspace) {
  check(layout, q.cols / heads, workspace);
  HRM_DISPATCH(forward<T>(layout, heads, q, k, v, out, lse, workspace));
}

template <class T>
void attention_backward(Stream, const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q, Matrix<const T> k,
                        Matrix<const T> v, Matrix<const T> out, std::span<const float> lse, Matrix<const T> dout,
                        Matrix<T> dq, Matrix<T> dk, Matrix<T> dv, AttentionWorkspace& workspace) {
  check(layout, q.cols / heads, workspace);
  HRM_DISPATCH(backward<T>(layout, heads, q, k, v, out, lse, dout, dq, dk, dv, workspace));
}

template <class T>
void attention_decode(Stream, std::int64_t heads, Matrix<const T> q, std::span<const T* const> keys,
                      std::span<const T* const> values, std::span<const std::int32_t> lengths,
                      std::int64_t cache_stride, Matrix<T> out) {
  ensure(q.cols / heads <= largest_head, "attention: heads of more than 512 channels");
  HRM_DISPATCH(decode<T>(heads, q, keys, values, lengths, cache_stride, out));
}

template void attention_forward(Stream, const SequenceLayout&, std::int64_t, Matrix<const float>, Matrix<const float>,
                                Matrix<const float>, Matrix<float>, std::span<float>, AttentionWorkspace&);
template void attention_backward(Stream, const SequenceLayout&, std::int64_t, Matrix<const float>, Matrix<const float>,
                                 Matrix<const float>, Matrix<const float>, std::span<const float>, Matrix<const float>,
                                 Matrix<float>, Matrix<float>, Matrix<float>, AttentionWorkspace&);
template void attention_decode(Stream, std::int64_t, Matrix<const float>, std::span<const float* const>,
                               std::span<const float* const>, std::span<const std::int32_t>, std::int64_t,
                               Matrix<float>);
template void attention_forward(Stream, const SequenceLayout&, std::int64_t, Matrix<const bf16>, Matrix<const bf16>,
                                Matrix<const bf16>, Matrix<bf16>, std::span<float>, AttentionWorkspace&);
template void attention_backward(Stream, const SequenceLayout&, std::int64_t, Matrix<const bf16>, Matrix<const bf16>,
                                 Matrix<const bf16>, Matrix<const bf16>, std::span<const float>, Matrix<const bf16>,
                                 Matrix<bf16>, Matrix<bf16>, Matrix<bf16>, AttentionWorkspace&);
template void attention_decode(Stream, std::int64_t, Matrix<const bf16>, std::span<const bf16* const>,
                               std::span<const bf16* const>, std::span<const std::int32_t>, std::int64_t, Matrix<bf16>);

}  // namespace hrm::kernels
#endif
