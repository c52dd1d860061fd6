#include "model/pack_work.hpp"

#include <algorithm>

#include "base/round.hpp"
#include "kernels/matmul.hpp"

namespace hrm::model {
namespace {

std::int64_t most_tiles(std::int64_t slots) {
  return slots / kernels::attention_tile + slots;  // every sequence has a token at least
}

std::int64_t padded(std::int64_t rows) {
  return round_up(rows, kernels::row_bucket);
}

/// inputs, position_ids, rows, sequence; labels; tiles; order.
std::int64_t most_bytes(std::int64_t slots, const kernels::EmbeddingOrderBuffer& order) {
  using Lists = SentLists;
  return 4 * Lists::bytes<std::int32_t>(slots) + Lists::bytes<std::int32_t>(padded(slots)) +
         Lists::bytes<kernels::AttentionTile>(most_tiles(slots)) +
         Lists::bytes<std::int32_t>(std::ssize(order.words()));
}

}  // namespace

PackWorkspace::PackWorkspace(std::int64_t slots, kernels::MaskType mask, bool backward, Device& device)
    : backward_(backward), device_(device), order_(backward ? slots : 0) {
  labels_.reserve(static_cast<std::size_t>(padded(slots)));
  work_.layout.mask = mask;
  if (!device.is_host()) {
    tiles_.reserve(static_cast<std::size_t>(most_tiles(slots)));
    lists_ = SentLists(most_bytes(slots, order_), MemoryPart::data, device);
  }
}

const PackWork& PackWorkspace::prepare(const PackView& pack) {
  fill_labels(pack);
  if (backward_) {
    kernels::sort_by_id(pack.inputs.first(static_cast<std::size_t>(pack.cu_seqlens.back())), order_);
  }
  work_.layout.cu_seqlens = pack.cu_seqlens;
  work_.layout.prefix_lens = pack.prefix_lens;
  device_.is_host() ? place_on_host(pack) : send(pack);
  return work_;
}

void PackWorkspace::fill_labels(const PackView& pack) {
  const auto& labels = pack.supervision.labels;
  labels_.assign(static_cast<std::size_t>(padded(std::ssize(labels))), -1);
  std::copy(labels.begin(), labels.end(), labels_.begin());
}

void PackWorkspace::place_on_host(const PackView& pack) {
  work_.inputs = pack.inputs;
  work_.position_ids = pack.position_ids;
  work_.rows = pack.supervision.rows;
  work_.labels = labels_;
  work_.sequence = pack.supervision.sequence;
  work_.order = order_.order();
}

void PackWorkspace::send(const PackView& pack) {
  kernels::attention_tiles(work_.layout, tiles_);
  lists_.begin();
  work_.inputs = lists_.add(pack.inputs);
  work_.position_ids = lists_.add(pack.position_ids);
  work_.rows = lists_.add(pack.supervision.rows);
  work_.labels = lists_.add(std::span<const std::int32_t>(labels_));
  work_.sequence = lists_.add(pack.supervision.sequence);
  work_.layout.tiles = lists_.add(std::span<const kernels::AttentionTile>(tiles_));
  work_.order = order_.order_at(lists_.add(order_.words()).data());
  lists_.send();
}

}  // namespace hrm::model
