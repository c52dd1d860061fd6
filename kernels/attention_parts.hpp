#pragma once
// What the directions of attention share on every instruction set: the geometry of packed sequences, sizes of tiles,
// scratch and the sharing of work. Key j is visible to query i exactly when i >= j or j < P (P the prefix; 0 for the
// causal mask): the keys of query i are always [0, visible(i)).
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/error.hpp"
#include "base/round.hpp"
#include "kernels/attention.hpp"

namespace hrm::kernels::attention {

inline constexpr std::int64_t key_tile = 64;      // keys per tile
inline constexpr std::int64_t query_block = 256;  // queries per forward unit, a multiple of every strip
inline constexpr std::int64_t widest_strip = 32;  // queries per strip: two vectors, at most 32 lanes
// Rows lie pages apart, where the processor does not prefetch by itself.
inline constexpr std::int64_t prefetch_rows = 12;
inline constexpr double log2_e = 1.4426950408889634;
inline constexpr double ln_2 = 0.6931471805599453;

/// Head size padded for register tiles and for vectors on every target.
constexpr std::int64_t padded_head(std::int64_t head_dim) {
  return round_up(head_dim, 16);
}

/// Factor of q that gives scores in units of log 2.
inline float score_scale(std::int64_t head_dim) {
  return static_cast<float>(log2_e / std::sqrt(static_cast<double>(head_dim)));
}

/// One sequence of a pack.
struct Sequence {
  std::int64_t first;  // row of its first token
  std::int64_t length;
  std::int64_t prefix;  // 0 for the causal mask

  std::int64_t visible(std::int64_t query) const { return std::min(length, std::max(prefix, query + 1)); }
};

inline Sequence sequence(const SequenceLayout& layout, std::int64_t s) {
  const auto i = static_cast<std::size_t>(s);
  const std::int64_t first = layout.cu_seqlens[i];
  return {first, layout.cu_seqlens[i + 1] - first, layout.mask == MaskType::causal ? 0 : layout.prefix_lens[i]};
}

inline std::int64_t sequence_count(const SequenceLayout& layout) {
  return std::max<std::int64_t>(0, static_cast<std::int64_t>(layout.cu_seqlens.size()) - 1);
}

inline std::int64_t used_rows(const SequenceLayout& layout) {
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

/// Throws InternalError where the workspace is too small for this pack.
inline void check(const SequenceLayout& layout, std::int64_t head_dim, const AttentionWorkspace& workspace) {
  for (std::int64_t s = 0; s < sequence_count(layout); ++s) {
    ensure(sequence(layout, s).length <= workspace.longest, "attention: a sequence is longer than its workspace");
  }
  ensure(head_dim <= workspace.head_dim, "attention: heads are larger than their workspace");
}

}  // namespace hrm::kernels::attention
