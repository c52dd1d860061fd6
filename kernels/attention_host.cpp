#include "kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

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

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace hrm::kernels {

std::int64_t AttentionWorkspace::floats(std::int64_t longest, std::int64_t head_dim) {
  using namespace attention;
  const std::int64_t padded = padded_head(head_dim);
  const std::int64_t strips = query_block / 2;  // the narrowest strip, of a target without vectors, has 2 queries
  const std::int64_t forward_floats =
      2 * key_tile * padded + key_tile * widest_strip + 2 * query_block * padded + strips * 2 * widest_strip;
  const std::int64_t backward_floats = 4 * round_up(longest, key_tile) * padded + 5 * widest_strip * padded +
                                       2 * key_tile * widest_strip + 2 * widest_strip;
  return round_up(std::max(forward_floats, backward_floats), 1024);
}

AttentionWorkspace::AttentionWorkspace(std::int64_t longest_sequence, std::int64_t head_size)
    : longest(longest_sequence),
      head_dim(head_size),
      threads(omp_get_max_threads()),
      per_thread(floats(longest_sequence, head_size)),
      memory(threads * per_thread, MemoryPart::workspace) {}

AttentionWorkspace::AttentionWorkspace(std::int64_t longest_sequence, std::int64_t head_size, const AttentionRows& rows,
                                       Device& device) {
  if (device.is_host()) {
    *this = AttentionWorkspace(longest_sequence, head_size);
  } else {
    memory = Buffer<float>(rows.backward ? rows.heads * rows.tokens : 0, MemoryPart::workspace, device.memory());
  }
}

template <class T>
void attention_forward(Stream stream, const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q,
                       Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse,
                       AttentionWorkspace& workspace) {
  HRM_CUDA_DISPATCH(stream,
                    attention_forward<T>(stream, layout.tiles, layout.cu_seqlens.back(), heads, q, k, v, out, lse));
  attention::check(layout, q.cols / heads, workspace);
  HRM_DISPATCH(forward<T>(layout, heads, q, k, v, out, lse, workspace));
}

template void attention_forward(Stream stream, const SequenceLayout&, std::int64_t, Matrix<const float>,
                                Matrix<const float>, Matrix<const float>, Matrix<float>, std::span<float>,
                                AttentionWorkspace&);
template void attention_forward(Stream stream, const SequenceLayout&, std::int64_t, Matrix<const bf16>,
                                Matrix<const bf16>, Matrix<const bf16>, Matrix<bf16>, std::span<float>,
                                AttentionWorkspace&);

}  // namespace hrm::kernels
#endif
