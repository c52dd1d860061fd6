#pragma once
// A pack where the kernels of a step read it, with the work lists that they need.
#include <cstdint>
#include <span>
#include <vector>

#include "base/device.hpp"
#include "kernels/attention.hpp"
#include "kernels/embedding.hpp"
#include "model/pack_view.hpp"
#include "model/sent_lists.hpp"

namespace hrm::model {

/// Lists in memory of the device, but for those of `layout` that are said to be the host's.
struct PackWork {
  std::span<const std::int32_t> inputs;        ///< (slots)
  std::span<const std::int32_t> position_ids;  ///< (slots)
  kernels::SequenceLayout layout;
  std::span<const std::int32_t> rows;      ///< (C) supervised rows
  std::span<const std::int32_t> labels;    ///< (C rounded up to kernels::row_bucket), -1 behind the labels
  std::span<const std::int32_t> sequence;  ///< (C)
  kernels::EmbeddingOrder order;           ///< for the backward pass only
};

/// Makes the work of one pack at a time.
class PackWorkspace {
 public:
  /// For packs of `slots` rows; all memory is allocated here.
  PackWorkspace(std::int64_t slots, kernels::MaskType mask, bool backward, Device& device);

  /// Lasts until the next call; `pack` too.
  const PackWork& prepare(const PackView& pack);

 private:
  void fill_labels(const PackView& pack);
  void place_on_host(const PackView& pack);
  void send(const PackView& pack);

  bool backward_;
  Device& device_;
  PackWork work_;
  std::vector<std::int32_t> labels_;           // of the host, padded
  std::vector<kernels::AttentionTile> tiles_;  // devices only
  kernels::EmbeddingOrderBuffer order_;
  SentLists lists_;  // devices only
};

}  // namespace hrm::model
