#pragma once
// The part of a tensor that one rank of a tensor-parallel group holds. Files know whole tensors only; everything else
// works on slices.
#include <algorithm>
#include <cstdint>
#include <vector>

namespace hrm {

/// How tensor parallelism cuts a tensor: not at all, by rows of [out, in], by columns, or each of `blocks` row blocks.
enum class TensorSplit { none, rows, columns, row_blocks };

/// A rank's place in its tensor-parallel group.
struct TensorPlace {
  int rank = 0;
  int size = 1;
};

/// Slice of a row-major tensor, itself row-major. Splits need two dimensions that divide: rows / blocks, or columns,
/// is a multiple of place.size.
struct TensorSlice {
  std::vector<std::int64_t> logical_shape;  ///< of the whole tensor, [out, in] for matrices
  TensorSplit split = TensorSplit::none;
  std::int64_t blocks = 1;  ///< for row_blocks: gqkv has 4 blocks, gate_up 2
  TensorPlace place;

  std::vector<std::int64_t> shape() const {
    std::vector<std::int64_t> local = logical_shape;
    if (split == TensorSplit::columns) {
      local[1] /= place.size;
    } else if (split != TensorSplit::none) {
      local[0] /= place.size;
    }
    return local;
  }

  /// Walks elements [first, first + count) of the slice in order, in runs that are contiguous in the whole tensor too:
  /// run(first element in the slice, first element in the whole tensor, elements).
  template <class Run>
  void for_each_run(std::int64_t first, std::int64_t count, Run&& run) const {
    if (split == TensorSplit::none || place.size == 1) {
      run(first, first, count);
      return;
    }
    const Period period = periods();
    for (std::int64_t at = first; at < first + count;) {
      const std::int64_t index = at / period.local;
      const std::int64_t inside = at % period.local;
      const std::int64_t length = std::min(period.local - inside, first + count - at);
      run(at, index * period.logical + place.rank * period.local + inside, length);
      at += length;
    }
  }

 private:
  /// The slice is `local` elements out of every `logical`, at place.rank * local.
  struct Period {
    std::int64_t local;
    std::int64_t logical;
  };
  Period periods() const {
    const std::int64_t per_block =
        split == TensorSplit::columns ? logical_shape[1] : logical_shape[0] / blocks * logical_shape[1];
    return {per_block / place.size, per_block};
  }
};

}  // namespace hrm
