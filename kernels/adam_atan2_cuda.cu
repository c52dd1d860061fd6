#include "kernels/adam_atan2.hpp"

#include "kernels/cuda_rows.hpp"

namespace hrm::kernels::cuda {
namespace {

constexpr int adam_threads = 256;
constexpr int adam_rounds = 4;  // packs of a thread in its block's tile
constexpr std::int64_t adam_tile = adam_threads * adam_rounds * Pack16<float>::count;

/// atan2(y, x) for x >= 0, with atan2(0, 0) = 0; the polynomial of the host (simd-inl.h).
__device__ __forceinline__ float atan2_of(float y, float x) {
  const float a = fabsf(y);
  const float larger = fmaxf(a, x);
  const float t = larger == 0.0F ? 0.0F : fminf(a, x) / larger;
  const float u = t * t;
  float p = -0.00175392802F;
  p = fmaf(p, u, 0.0107269343F);
  p = fmaf(p, u, -0.0308045782F);
  p = fmaf(p, u, 0.0575520843F);
  p = fmaf(p, u, -0.0837731436F);
  p = fmaf(p, u, 0.1094203F);
  p = fmaf(p, u, -0.142619327F);
  p = fmaf(p, u, 0.199982658F);
  p = fmaf(p, u, -0.333332837F);
  p = fmaf(p * u, t, t);
  return copysignf(a > x ? 1.57079637F - p : p, y);
}

/// Arrays of a share; m and e may be null.
struct Share {
  float* w;
  const float* g;
  float* m;
  float* v;
  float* e;
};

/// One element's values.
struct Element {
  float w;
  float m;
  float v;
  float e;
};

/// Written with fmaf throughout: every place in a share rounds alike.
__device__ __forceinline__ void update(const AdamAtan2Step& step, float gradient, bool has_m, bool has_e, Element& x) {
  x.m = has_m ? fmaf(step.one_minus_beta1, gradient - x.m, x.m) : gradient;
  x.v = fmaf(step.beta2, x.v, step.one_minus_beta2 * gradient * gradient);
  const float angle = atan2_of(x.m, sqrtf(x.v) * step.inverse_sqrt_bias2);
  x.w = fmaf(-step.step_size, angle, x.w * step.decay);
  x.e = has_e ? fmaf(step.one_minus_ema, x.w - x.e, x.e) : 0.0F;
}

template <bool aligned>
__device__ __forceinline__ void store_compute(float* to, const Pack16<float>& w, std::int64_t n) {
  store_part<aligned>(to, w, n);
}
template <bool aligned>
__device__ __forceinline__ void store_compute(bf16* to, const Pack16<float>& w, std::int64_t n) {
  if (aligned && n >= 4) {
    *reinterpret_cast<uint2*>(to) = {pack_bf16(w.values[0], w.values[1]), pack_bf16(w.values[2], w.values[3])};
    return;
  }
  for (int i = 0; i < 4; ++i) {
    if (i < n) {
      to[i] = to_bf16(w.values[i]);
    }
  }
}

/// Elements [at, at + n) of a share, n <= 4, all of one segment.
template <class T, bool aligned>
__device__ __forceinline__ void update_pack(const AdamAtan2Segment& segment, const Share& share, std::int64_t at,
                                            std::int64_t n, T* compute) {
  const Pack16<float> g = [&] {
    const float* from = share.g + (at - segment.first + segment.gradient_first);
    const bool whole = aligned && (segment.gradient_first - segment.first) % 4 == 0;
    return whole ? load_part<aligned>(from, n) : load_part<false>(from, n);  // NOLINT(bugprone-branch-clone)
  }();
  const auto load = [&](const float* x) { return x != nullptr ? load_part<aligned>(x + at, n) : Pack16<float>{}; };
  Pack16<float> w = load(share.w);
  Pack16<float> m = load(share.m);
  Pack16<float> v = load(share.v);
  Pack16<float> e = load(share.e);
  for (int i = 0; i < 4; ++i) {
    Element x{w.values[i], m.values[i], v.values[i], e.values[i]};
    update(segment.step, g.values[i], share.m != nullptr, share.e != nullptr, x);
    w.values[i] = x.w;
    m.values[i] = x.m;
    v.values[i] = x.v;
    e.values[i] = x.e;
  }
  store_part<aligned>(share.w + at, w, n);
  store_part<aligned>(share.v + at, v, n);
  if (share.m != nullptr) {
    store_part<aligned>(share.m + at, m, n);
  }
  if (share.e != nullptr) {
    store_part<aligned>(share.e + at, e, n);
  }
  if (compute != nullptr) {
    store_compute<aligned>(compute + at, w, n);
  }
}

/// First segment that ends beyond `at`; `count` if there is none.
__device__ __forceinline__ std::int64_t segment_at(const AdamAtan2Segment* segments, std::int64_t count,
                                                   std::int64_t at) {
  std::int64_t low = 0;
  std::int64_t high = count;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (segments[middle].first + segments[middle].count > at) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}

/// One block per tile of the share: its threads take packs that segments cover in whole or in part.
template <class T, bool aligned>
__global__ void __launch_bounds__(adam_threads) update_tiles(const AdamAtan2Segment* segments, std::int64_t count,
                                                             Share share, T* compute, const std::int32_t* accept) {
  if (accept != nullptr && *accept == 0) {
    return;
  }
  const std::int64_t tile = blockIdx.x * adam_tile;
  std::int64_t s = segment_at(segments, count, tile);
  for (int round = 0; round < adam_rounds; ++round) {
    const std::int64_t at = tile + (round * adam_threads + static_cast<int>(threadIdx.x)) * 4;
    for (; s < count && segments[s].first < at + 4; ++s) {
      const std::int64_t last = segments[s].first + segments[s].count;
      const std::int64_t from = std::max(at, segments[s].first);
      const std::int64_t to = std::min(at + 4, last);
      if (from < to) {
        update_pack<T, aligned>(segments[s], share, from, to - from, compute);
      }
      if (last >= at + 4) {
        break;
      }
    }
  }
}

}  // namespace

template <class T>
void adam_atan2_segments(Stream stream, std::span<const AdamAtan2Segment> segments, std::span<float> w,
                         std::span<const float> g, std::span<float> m, std::span<float> v, std::span<float> e,
                         std::span<T> compute, const std::int32_t* accept) {
  const Share share{w.data(), g.data(), m.data(), v.data(), e.data()};
  const bool aligned = rows_aligned(w.data(), 0) && rows_aligned(g.data(), 0) && rows_aligned(m.data(), 0) &&
                       rows_aligned(v.data(), 0) && rows_aligned(e.data(), 0) && rows_aligned(compute.data(), 0);
  const auto tiles = (static_cast<std::int64_t>(w.size()) + adam_tile - 1) / adam_tile;
  launch(stream, dim3(static_cast<unsigned>(tiles)), dim3(adam_threads), 0,
         aligned ? update_tiles<T, true> : update_tiles<T, false>, segments.data(),
         static_cast<std::int64_t>(segments.size()), share, compute.data(), accept);
}

#define HRM_INSTANTIATE(T)                                                                                        \
  template void adam_atan2_segments(Stream, std::span<const AdamAtan2Segment>, std::span<float>,                  \
                                    std::span<const float>, std::span<float>, std::span<float>, std::span<float>, \
                                    std::span<T>, const std::int32_t*);
HRM_INSTANTIATE(float)
HRM_INSTANTIATE(bf16)
#undef HRM_INSTANTIATE

}  // namespace hrm::kernels::cuda
