#pragma once
// Cases of attention that the tests of every back end share.
#include "kernels/attention.hpp"
#include "tests/kernels/kernel_test.hpp"
#include "tests/support/reference.hpp"

namespace hrm::test {

using kernels::MaskType;

struct AttentionShape {
  std::vector<std::int32_t> lengths;
  std::vector<std::int32_t> prefixes;
  std::int64_t padding;
  std::int64_t heads;
  std::int64_t head_dim;
};

inline std::vector<std::int32_t> cumulative(const std::vector<std::int32_t>& lengths) {
  std::vector<std::int32_t> sums = {0};
  for (const std::int32_t length : lengths) {
    sums.push_back(sums.back() + length);
  }
  return sums;
}

/// One case with operands rounded to T, kept as column blocks of one wider buffer as the model keeps them.
template <class T>
struct AttentionProblem {
  /// `gap_size`: elements between rows of the operands; -1 for that of the model's buffer and one more, so that no row is
  /// aligned.
  AttentionProblem(const AttentionShape& shape, MaskType type, double scale = 1.0, std::int64_t gap_size = -1)
      : mask(type),
        cols(shape.heads * shape.head_dim),
        c{{},
          {},
          {},
          cumulative(shape.lengths),
          shape.prefixes,
          type == MaskType::causal,
          static_cast<std::size_t>(shape.heads),
          static_cast<std::size_t>(shape.head_dim)},
        tokens(c.cu_seqlens.back() + shape.padding),
        gap(gap_size < 0 ? 2 * cols + 1 : gap_size) {
    c.q = rounded<T>(normals(tokens * cols, 1, scale));
    c.k = rounded<T>(normals(tokens * cols, 2, scale));
    c.v = rounded<T>(normals(tokens * cols, 3));
    upstream = rounded<T>(normals(tokens * cols, 4));
  }

  kernels::SequenceLayout layout() const { return {c.cu_seqlens, c.prefix_lens, mask}; }
  Stored<T> stored(const Values& x) const { return Stored<T>(x, cols, gap); }
  Stored<T> empty() const { return Stored<T>(tokens, cols, gap); }
  std::int64_t heads() const { return static_cast<std::int64_t>(c.heads); }
  kernels::AttentionWorkspace workspace() const {
    return kernels::AttentionWorkspace(c.cu_seqlens.back(), static_cast<std::int64_t>(c.head_dim));
  }

  MaskType mask;
  std::int64_t cols;
  reference::AttentionCase c;
  std::int64_t tokens;
  std::int64_t gap;
  Values upstream;
};

/// What a back end makes of a problem; lse (heads, tokens).
template <class T>
struct AttentionResult {
  explicit AttentionResult(const AttentionProblem<T>& p)
      : out(p.empty()),
        dq(p.empty()),
        dk(p.empty()),
        dv(p.empty()),
        lse(static_cast<std::size_t>(p.heads() * p.tokens), 5.0F) {}

  bool gaps_untouched() const {
    return out.gaps_untouched() && dq.gaps_untouched() && dk.gaps_untouched() && dv.gaps_untouched();
  }
  std::vector<std::vector<unsigned char>> bytes() const {
    return {out.bytes(), dq.bytes(), dk.bytes(), dv.bytes()};
  }

  Stored<T> out;
  Stored<T> dq;
  Stored<T> dk;
  Stored<T> dv;
  std::vector<float> lse;
};

}  // namespace hrm::test
