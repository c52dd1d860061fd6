#pragma once
// One row per tensor of the model. Initialisation, sharding, optimizer, EMA, checkpoint, export and `inspect` walk the
// table; none of them knows the model (golden specification A.2).
#include <cstdint>
#include <string>
#include <vector>

namespace hrm {

/// How tensor parallelism cuts a tensor: not at all, by rows of [out, in], by columns, or each of `blocks` row blocks.
enum class TensorSplit { none, rows, columns, row_blocks };

struct Parameter {
  std::string name;                 ///< e.g. "H.layers.0.gqkv"
  std::vector<std::int64_t> shape;  ///< logical shape, [out, in] for matrices
  double init_std = 0;              ///< std of the initialiser (A.2)
  TensorSplit split = TensorSplit::none;
  std::int64_t split_blocks = 1;  ///< for row_blocks: gqkv has 4 blocks, gate_up 2
  bool trainable = true;          ///< zL_init is saved and never trained
  std::int64_t offset = 0;        ///< first element in the flat array of all parameters, a multiple of 64

  std::int64_t count() const {
    std::int64_t n = 1;
    for (const std::int64_t extent : shape) {
      n *= extent;
    }
    return n;
  }
};

/// Rows in a fixed order; trainable ones first, laid out one after the other in one flat array.
struct ParameterTable {
  std::vector<Parameter> rows;
  std::int64_t flat_size = 0;    ///< elements of the flat array with padding; trainable rows only
  std::int64_t total_count = 0;  ///< logical elements of the trainable rows

  const Parameter* find(const std::string& name) const {
    for (const Parameter& row : rows) {
      if (row.name == name) {
        return &row;
      }
    }
    return nullptr;
  }
};

/// Elements of one block of the flat array: norms are summed per block in double, and a shard is a whole number of
/// blocks, so that neither depends on how many ranks share the work.
inline constexpr std::int64_t flat_block = 4096;

}  // namespace hrm
