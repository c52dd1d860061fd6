#include "model/pack_work.hpp"

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/error.hpp"
#include "base/round.hpp"
#include "kernels/matmul.hpp"

namespace hrm::model {
namespace {

constexpr std::int64_t alignment = 4;  // words: 16 bytes
constexpr std::int64_t tile_words = sizeof(kernels::AttentionTile) / sizeof(std::int32_t);

std::int64_t most_tiles(std::int64_t slots) {
  return slots / kernels::attention_tile + slots;  // every sequence has a token at least
}

std::int64_t padded(std::int64_t rows) {
  return round_up(rows, kernels::row_bucket);
}

/// inputs, position_ids, rows, sequence; labels; tiles; order; and the gaps between them.
std::int64_t most_words(std::int64_t slots, const kernels::EmbeddingOrderBuffer& order) {
  return 4 * slots + padded(slots) + most_tiles(slots) * tile_words + std::ssize(order.words()) + 7 * alignment;
}

/// Puts lists one after the other into host memory and tells where they will be on the device.
class Lists {
 public:
  Lists(Buffer<std::int32_t>& staging, const Buffer<std::int32_t>& device) : staging_(staging), device_(device) {}

  template <class T>
  std::span<const T> add(std::span<const T> list) {
    const std::int64_t words = static_cast<std::int64_t>(list.size_bytes() / sizeof(std::int32_t));
    ensure(used_ + words <= staging_.size(), "a pack's lists are longer than its slots allow");
    if (words > 0) {
      std::memcpy(staging_.data() + used_, list.data(), list.size_bytes());
    }
    const auto* place = reinterpret_cast<const T*>(device_.data() + used_);
    used_ = round_up(used_ + words, alignment);
    return {place, list.size()};
  }
  std::size_t bytes() const { return static_cast<std::size_t>(used_) * sizeof(std::int32_t); }

 private:
  Buffer<std::int32_t>& staging_;
  const Buffer<std::int32_t>& device_;
  std::int64_t used_ = 0;
};

}  // namespace

PackWorkspace::PackWorkspace(std::int64_t slots, kernels::MaskType mask, bool backward, Device& device)
    : backward_(backward), device_(device), order_(backward ? slots : 0) {
  labels_.reserve(static_cast<std::size_t>(padded(slots)));
  work_.layout.mask = mask;
  if (!device.is_host()) {
    tiles_.reserve(static_cast<std::size_t>(most_tiles(slots)));
    words_ = Buffer<std::int32_t>(most_words(slots, order_), MemoryPart::data, device.memory());
    for (std::size_t i = 0; i < staging_.size(); ++i) {
      staging_[i] = Buffer<std::int32_t>(words_.size(), MemoryPart::data, device.staging());
      sent_[i] = device.make_event();
    }
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
  turn_ = 1 - turn_;
  while (!device_.reached(sent_[turn_])) {
    std::this_thread::yield();
  }
  kernels::attention_tiles(work_.layout, tiles_);
  Lists lists(staging_[turn_], words_);
  work_.inputs = lists.add(pack.inputs);
  work_.position_ids = lists.add(pack.position_ids);
  work_.rows = lists.add(pack.supervision.rows);
  work_.labels = lists.add(std::span<const std::int32_t>(labels_));
  work_.sequence = lists.add(pack.supervision.sequence);
  work_.layout.tiles = lists.add(std::span<const kernels::AttentionTile>(tiles_));
  work_.order = order_.order_at(lists.add(order_.words()).data());
  device_.copy(device_.compute(), words_.data(), staging_[turn_].data(), lists.bytes());
  device_.record(sent_[turn_], device_.compute());
}

}  // namespace hrm::model
