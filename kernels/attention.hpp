#pragma once
// Softmax attention over packed sequences with causal or PrefixLM mask (golden A.5 step 3, A.6).
// Tile by tile, no (T, T) buffer; tiles that the mask hides are not visited. Softmax and sums in float32.
#include <cstdint>
#include <span>
#include <vector>

#include "base/bf16.hpp"
#include "base/buffer.hpp"
#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

enum class MaskType { prefixlm, causal };

/// Rows of one sequence that CUDA kernels take together, at most attention_tile; device memory, read as one 16-byte
/// word.
struct alignas(16) AttentionTile {
  std::int32_t first;   ///< row of the sequence's first token
  std::int32_t length;  ///< of the sequence
  std::int32_t prefix;  ///< 0 for the causal mask
  std::int32_t begin;   ///< first row of the tile, counted from `first`; a multiple of attention_tile
};

/// Where the sequences of a pack lie. cu_seqlens has S + 1 entries; rows from cu_seqlens[S] on are padding.
struct SequenceLayout {
  std::span<const std::int32_t> cu_seqlens;
  std::span<const std::int32_t> prefix_lens;
  MaskType mask = MaskType::prefixlm;
  std::span<const AttentionTile> tiles{};  ///< of attention_tiles, in device memory; the lists above stay on the host
};

/// Sizes of the packs that attention sees.
struct AttentionRows {
  std::int64_t heads = 0;
  std::int64_t tokens = 0;
  bool backward = false;
};

/// Scratch for both directions, allocated once. On the host it is for omp_get_max_threads() threads, and `longest` is
/// the longest sequence that will be seen (InternalError on a longer one); a device keeps one float a row and head for
/// the backward pass.
class AttentionWorkspace {
 public:
  AttentionWorkspace(std::int64_t longest, std::int64_t head_dim);
  AttentionWorkspace(std::int64_t longest, std::int64_t head_dim, const AttentionRows& rows, Device& device);
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

/// New tokens' keys and values into caches: row lengths[b] - 1 of keys[b] and values[b], with row stride
/// `cache_stride`, = row b of k and v (B, heads*d). No row is written twice.
template <class T>
void attention_append(Stream, Matrix<const T> k, Matrix<const T> v, std::span<T* const> keys,
                      std::span<T* const> values, std::span<const std::int32_t> lengths, std::int64_t cache_stride);

/// 128 rows, for a tile's keys and values come from the L2 cache: per byte of it, 128 queries do twice the work of 64.
inline constexpr std::int64_t attention_tile = 128;

/// The tiles of a pack, those that see most keys first, in an order that depends on the layout alone. Clears `tiles`;
/// at most rows / attention_tile + sequences are added.
void attention_tiles(const SequenceLayout& layout, std::vector<AttentionTile>& tiles);

namespace cuda {

// As above for packs of `used` rows given by their tiles (device memory). bf16 heads of 16, 32, 64 and 128 channels in
// rows aligned to 16 bytes go to tensor cores, where the softmax weights and the gradients of scores are rounded to
// bf16 before they are multiplied; everything else is float32. Heads of up to 256 channels. Fixed order of sums: the
// same bits from the same layout.

template <class T>
void attention_forward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t used, std::int64_t heads,
                       Matrix<const T> q, Matrix<const T> k, Matrix<const T> v, Matrix<T> out, std::span<float> lse);

/// row_sums (heads, T) is scratch: Σ_c dout out of each row and head.
template <class T>
void attention_backward(Stream stream, std::span<const AttentionTile> tiles, std::int64_t used, std::int64_t heads,
                        Matrix<const T> q, Matrix<const T> k, Matrix<const T> v, Matrix<const T> out,
                        std::span<const float> lse, Matrix<const T> dout, Matrix<T> dq, Matrix<T> dk, Matrix<T> dv,
                        std::span<float> row_sums);

/// The pointers and lengths lie in device memory too. 1 <= lengths[b]; heads of up to largest_decode_head channels.
template <class T>
void attention_decode(Stream stream, std::int64_t heads, Matrix<const T> q, std::span<const T* const> keys,
                      std::span<const T* const> values, std::span<const std::int32_t> lengths,
                      std::int64_t cache_stride, Matrix<T> out);

template <class T>
void attention_append(Stream stream, Matrix<const T> k, Matrix<const T> v, std::span<T* const> keys,
                      std::span<T* const> values, std::span<const std::int32_t> lengths, std::int64_t cache_stride);

}  // namespace cuda

}  // namespace hrm::kernels
