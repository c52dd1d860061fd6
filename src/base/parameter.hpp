#pragma once
// One row per tensor of the model. Initialisation, sharding, optimizer, EMA, checkpoint, export and `inspect` walk the
// table; none of them knows the model (golden specification A.2).
#include <cstdint>
#include <string>
#include <vector>

#include "base/tensor_slice.hpp"

namespace hrm {

struct Parameter {
  std::string name;   ///< e.g. "H.layers.0.gqkv"
  TensorSlice slice;  ///< the part of the tensor that this rank holds; all of it without tensor parallelism
  std::vector<std::int64_t> shape;  ///< of the slice, [out, in] for matrices
  double init_std = 0;              ///< std of the initialiser (A.2)
  bool trainable = true;            ///< zL_init is saved and never trained
  std::int64_t offset = 0;          ///< first element in the flat array of all parameters, a multiple of 64

  /// Elements of the slice.
  std::int64_t count() const {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) {
      n *= extent;
    }
    return n;
  }
};

/// Elements [first, last) of the flat array.
struct FlatRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t count() const { return last - first; }
  bool operator==(const FlatRange&) const = default;
};

/// Elements of one block of the flat array: norms are summed per block in double, and a shard is a whole number of
/// blocks, so that neither depends on how many ranks share the work.
inline constexpr std::int64_t flat_block = 4096;

/// Rows whose gradients become final together: the embedding, the head, or one layer. The unit of reduction and gather.
struct Bucket {
  int first_row = 0;
  int last_row = 0;  ///< one behind the last
  FlatRange range;   ///< whole flat blocks, padding included
};

/// Rows in a fixed order; trainable ones first, laid out one after the other in one flat array.
struct ParameterTable {
  std::vector<Parameter> rows;
  std::vector<Bucket> buckets;   ///< of the trainable rows, in order; they cover the flat array
  std::int64_t flat_size = 0;    ///< elements of the flat array with padding; trainable rows only
  std::int64_t total_count = 0;  ///< logical elements of the trainable rows, of all tensor-parallel ranks together

  const Parameter* find(const std::string& name) const {
    for (const Parameter& row : rows) {
      if (row.name == name) {
        return &row;
      }
    }
    return nullptr;
  }
  /// Bucket of a trainable row.
  int bucket_of(int row) const {
    int bucket = 0;
    while (row >= buckets[static_cast<std::size_t>(bucket)].last_row) {
      ++bucket;
    }
    return bucket;
  }
};

}  // namespace hrm
