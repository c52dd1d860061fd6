#include "kernels/attention.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_backward_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

template <class T>
void attention_backward(Stream stream, const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q,
                        Matrix<const T> k, Matrix<const T> v, Matrix<const T> out, std::span<const float> lse,
                        Matrix<const T> dout, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv, AttentionWorkspace& workspace) {
  HRM_CUDA_DISPATCH(stream, attention_backward<T>(stream, layout.tiles, layout.cu_seqlens.back(), heads, q, k, v, out,
                                                  lse, dout, dq, dk, dv, workspace.memory.span()));
  attention::check(layout, q.cols / heads, workspace);
  HRM_DISPATCH(backward<T>(layout, heads, q, k, v, out, lse, dout, dq, dk, dv, workspace));
}

template void attention_backward(Stream, const SequenceLayout&, std::int64_t, Matrix<const float>, Matrix<const float>,
                                 Matrix<const float>, Matrix<const float>, std::span<const float>, Matrix<const float>,
                                 Matrix<float>, Matrix<float>, Matrix<float>, AttentionWorkspace&);
template void attention_backward(Stream, const SequenceLayout&, std::int64_t, Matrix<const bf16>, Matrix<const bf16>,
                                 Matrix<const bf16>, Matrix<const bf16>, std::span<const float>, Matrix<const bf16>,
                                 Matrix<bf16>, Matrix<bf16>, Matrix<bf16>, AttentionWorkspace&);

}  // namespace hrm::kernels
#endif
