#pragma once
// One packed batch row as the caller has it (golden A.6, B.1). All spans are host memory and owned by the caller.
#include <cstdint>
#include <span>

namespace hrm::model {

/// Supervised rows of a pack, sequence by sequence.
struct Supervision {
  std::span<const std::int32_t> rows;      ///< row of the pack, ascending
  std::span<const std::int32_t> labels;    ///< its label
  std::span<const std::int32_t> sequence;  ///< its sequence's number, ascending
};

struct PackView {
  std::span<const std::int32_t> inputs;        ///< (slots), 0 in padding
  std::span<const std::int32_t> position_ids;  ///< (slots), 0 in padding
  std::span<const std::int32_t> cu_seqlens;    ///< (S + 1)
  std::span<const std::int32_t> prefix_lens;   ///< (S)
  Supervision supervision;
};

}  // namespace hrm::model
