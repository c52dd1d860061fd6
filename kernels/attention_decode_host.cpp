#include "kernels/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "kernels/cuda_dispatch.hpp"
#include "kernels/simd_dispatch.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_decode_host.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/attention_parts-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
namespace {

constexpr float minus_infinity = -std::numeric_limits<float>::infinity();

constexpr std::int64_t decode_chunk = 64;  // cached keys per softmax step

/// One query against `length` cached rows: softmax over chunks of keys with a running maximum.
template <class T>
void decode_head(const T* q, const T* keys, const T* values, std::int64_t length, std::int64_t stride,
                 std::int64_t head_dim, T* out) {
  alignas(64) float sum_out[largest_decode_head] = {};
  alignas(64) float query[largest_decode_head] = {};
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

template <class T>
void attention_decode(Stream stream, std::int64_t heads, Matrix<const T> q, std::span<const T* const> keys,
                      std::span<const T* const> values, std::span<const std::int32_t> lengths,
                      std::int64_t cache_stride, Matrix<T> out) {
  ensure(q.cols / heads <= largest_decode_head, "attention: heads of more than 512 channels");
  HRM_CUDA_DISPATCH(stream, attention_decode<T>(stream, heads, q, keys, values, lengths, cache_stride, out));
  HRM_DISPATCH(decode<T>(heads, q, keys, values, lengths, cache_stride, out));
}

template <class T>
void attention_append(Stream stream, Matrix<const T> k, Matrix<const T> v, std::span<T* const> keys,
                      std::span<T* const> values, std::span<const std::int32_t> lengths, std::int64_t cache_stride) {
  HRM_CUDA_DISPATCH(stream, attention_append<T>(stream, k, v, keys, values, lengths, cache_stride));
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < k.rows; ++row) {
    const auto b = static_cast<std::size_t>(row);
    const std::int64_t place = (lengths[b] - 1) * cache_stride;
    std::copy_n(k.row(row), k.cols, keys[b] + place);
    std::copy_n(v.row(row), v.cols, values[b] + place);
  }
}

template void attention_decode(Stream, std::int64_t, Matrix<const float>, std::span<const float* const>,
                               std::span<const float* const>, std::span<const std::int32_t>, std::int64_t,
                               Matrix<float>);
template void attention_decode(Stream, std::int64_t, Matrix<const bf16>, std::span<const bf16* const>,
                               std::span<const bf16* const>, std::span<const std::int32_t>, std::int64_t, Matrix<bf16>);
template void attention_append(Stream, Matrix<const float>, Matrix<const float>, std::span<float* const>,
                               std::span<float* const>, std::span<const std::int32_t>, std::int64_t);
template void attention_append(Stream, Matrix<const bf16>, Matrix<const bf16>, std::span<bf16* const>,
                               std::span<bf16* const>, std::span<const std::int32_t>, std::int64_t);

}  // namespace hrm::kernels
#endif
