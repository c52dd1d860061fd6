#pragma once
// One pack as the network takes it: samples one after the other, then padding (golden A.6, B.1).
#include <cstdint>
#include <span>
#include <vector>

namespace hrm::data {

/// A sample with w = instruction ++ response.
struct SampleTokens {
  std::span<const std::int32_t> tokens;  ///< (P + R)
  std::int64_t prefix = 0;               ///< P >= 1; R >= 1
};

/// Which targets are labels: those of the response (golden `target_only`), or all.
enum class Supervise { response, all };

/// Arrays of a pack of T slots and S sequences. Room for any pack of T slots is reserved once.
struct Pack {
  static constexpr std::int32_t no_label = -100;

  explicit Pack(std::int64_t slots);

  std::int64_t slots = 0;                         ///< T
  std::int64_t used = 0;                          ///< slots that are no padding
  std::vector<std::int32_t> inputs;               ///< (T), 0 in padding
  std::vector<std::int32_t> labels;               ///< (T), no_label where there is none
  std::vector<std::int32_t> position_ids;         ///< (T), from 0 in every sequence
  std::vector<std::int32_t> cu_seqlens;           ///< (S + 1)
  std::vector<std::int32_t> prefix_lens;          ///< (S) P
  std::vector<std::int32_t> causal_lens;          ///< (S) R - 1
  std::vector<std::int32_t> supervised_rows;      ///< (C) slots with a label, ascending
  std::vector<std::int32_t> supervised_labels;    ///< (C) their labels
  std::vector<std::int32_t> supervised_sequence;  ///< (C) their sequences

  std::int64_t sequences() const { return std::ssize(prefix_lens); }
};

/// Fills `pack` with the samples in the order given (golden B.1). Together they fit into its slots. Allocates nothing.
void build_pack(std::span<const SampleTokens> samples, Supervise supervise, Pack& pack);

}  // namespace hrm::data
