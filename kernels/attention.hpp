#pragma once
// Softmax attention over packed sequences with causal or PrefixLM mask (golden A.5 step 3, A.6).
// Tile by tile, no (T, T) buffer; tiles that the mask hides are not visited. Softmax and sums in float32.
#include <cstdint>
#include <span>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

enum class MaskType { prefixlm, causal };

/// Where the sequences of a pack lie. cu_seqlens has S + 1 entries; rows from cu_seqlens[S] on are padding.
struct SequenceLayout {
  std::span<const std::int32_t> cu_seqlens;
  std::span<const std::int32_t> prefix_lens;
  MaskType mask = MaskType::prefixlm;
};

/// Scratch for both directions, allocated once for omp_get_max_threads() threads: `longest` is the longest sequence
/// that will be seen (InternalError on a longer one).
class AttentionWorkspace {
 public:
  AttentionWorkspace(std::int64_t longest, std::int64_t head_dim);
  /// Floats that one thread needs.
  static std::int64_t floats(std::int64_t longest, std::int64_t head_dim);
  std::int64_t longest = 0;
  std::int64_t head_dim = 0;
  int threads = 1;
  std::int64_t per_thread = 0;  ///< floats per thread
  Buffer<float> memory;         ///< (threads, per_thread)
};

/// out (T, heads*d) = softmax(q kᵀ / sqrt(d) + mask) v per head; padding rows 0. q, k, v (T, heads*d), any row stride.
/// lse (heads, T) = log-sum-exp of each row's scaled scores, for the backward pass (0 for padding).
template <class T>
void attention_forward(Stream, const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q, Matrix<const T> k,
                       Matrix<const T> v, Matrix<T> out, std::span<float> lse, AttentionWorkspace& workspace);

/// dq, dk, dv (T, heads*d, any row stride) from dout; overwrites them, padding rows with 0.
template <class T>
void attention_backward(Stream, const SequenceLayout& layout, std::int64_t heads, Matrix<const T> q, Matrix<const T> k,
                        Matrix<const T> v, Matrix<const T> out, std::span<const float> lse, Matrix<const T> dout,
                        Matrix<T> dq, Matrix<T> dk, Matrix<T> dv, AttentionWorkspace& workspace);

/// Largest head size of attention_decode.
inline constexpr std::int64_t largest_decode_head = 512;

/// One new token per sequence against its cache: out (B, heads*d) from q (B, heads*d);
/// keys[b], values[b] are (lengths[b], heads*d) with row stride `cache_stride`, the new token's own row included.
/// d <= largest_decode_head (InternalError).
template <class T>
void attention_decode(Stream, std::int64_t heads, Matrix<const T> q, std::span<const T* const> keys,
                      std::span<const T* const> values, std::span<const std::int32_t> lengths,
                      std::int64_t cache_stride, Matrix<T> out);

}  // namespace hrm::kernels
