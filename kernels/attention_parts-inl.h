// What forward and backward share on one instruction set. Scores are held transposed, (keys, queries): lanes run over
// queries, so softmax needs no sums across lanes, keys and values are read as scalars in their own layout, and any head
// size works.
#if defined(HRM_KERNELS_ATTENTION_PARTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HRM_KERNELS_ATTENTION_PARTS_INL_H_
#undef HRM_KERNELS_ATTENTION_PARTS_INL_H_
#else
#define HRM_KERNELS_ATTENTION_PARTS_INL_H_
#endif

#include <hwy/cache_control.h>

#include "kernels/attention_parts.hpp"
#include "kernels/simd_tiles-inl.h"

HWY_BEFORE_NAMESPACE();
namespace hrm::kernels {
namespace HWY_NAMESPACE {
using namespace attention;

/// Queries of one strip.
inline std::int64_t strip_width() {
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

inline Crossing cross(const Sequence& seq, std::int64_t query, std::int64_t count, std::int64_t key) {
  const std::int64_t keys = std::clamp<std::int64_t>(seq.visible(query + count - 1) - key, 0, key_tile);
  return {query, key, keys, std::clamp<std::int64_t>(seq.visible(query) - key, 0, keys)};
}

}  // namespace HWY_NAMESPACE
}  // namespace hrm::kernels
HWY_AFTER_NAMESPACE();

#endif  // HRM_KERNELS_ATTENTION_PARTS_INL_H_
