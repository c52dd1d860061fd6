#include "model/decoder_work.hpp"

namespace hrm::model {
namespace {

/// inputs, positions, lengths, last rows; tiles; pointers.
template <class T>
std::int64_t most_bytes(std::int64_t rows, const DecoderCache<T>& cache) {
  using Lists = SentLists;
  return 4 * Lists::bytes<std::int32_t>(rows) +
         Lists::bytes<kernels::AttentionTile>(rows / kernels::attention_tile + rows) +
         Lists::bytes<T*>(cache.calls() * cache.layers() * 2 * rows);
}

}  // namespace

template <class T>
DecoderWork<T>::DecoderWork(std::int64_t most_rows, kernels::MaskType mask, DecoderCache<T>& cache, Device& device)
    : cache_(cache), lists_(most_bytes(most_rows, cache), MemoryPart::data, device) {
  layout_.mask = mask;
}

template <class T>
void DecoderWork<T>::begin() {
  rows_.clear();
  first_rows_.assign(1, 0);
  prompt_lengths_.clear();
  host_last_rows_.clear();
}

template <class T>
void DecoderWork<T>::add(const LaneToken& row) {
  rows_.push_back(row);
}

template <class T>
void DecoderWork<T>::end_prompt() {
  const auto end = static_cast<std::int32_t>(used());
  prompt_lengths_.push_back(end - first_rows_.back());
  first_rows_.push_back(end);
  host_last_rows_.push_back(end - 1);
}

template <class T>
void DecoderWork<T>::send(std::int64_t rows) {
  layout_.cu_seqlens = first_rows_;
  layout_.prefix_lens = prompt_lengths_;
  kernels::attention_tiles(layout_, tiles_);
  lists_.begin();
  send_rows(rows);
  layout_.tiles = lists_.add(std::span<const kernels::AttentionTile>(tiles_));
  last_rows_ = lists_.add(std::span<const std::int32_t>(host_last_rows_));
  send_cache();
  lists_.send();
}

template <class T>
void DecoderWork<T>::send_rows(std::int64_t rows) {
  const auto inputs = lists_.place<std::int32_t>(static_cast<std::size_t>(rows));
  const auto positions = lists_.place<std::int32_t>(static_cast<std::size_t>(rows));
  const auto lengths = lists_.place<std::int32_t>(rows_.size());
  for (std::size_t i = 0; i < inputs.here.size(); ++i) {
    const LaneToken row = i < rows_.size() ? rows_[i] : LaneToken{};
    inputs.here[i] = row.token;
    positions.here[i] = static_cast<std::int32_t>(row.position);
    if (i < rows_.size()) {
      lengths.here[i] = positions.here[i] + 1;
    }
  }
  inputs_ = inputs.there;
  positions_ = positions.there;
  lengths_ = lengths.there;
}

template <class T>
void DecoderWork<T>::send_cache() {
  const auto count = static_cast<std::size_t>(cache_.calls() * cache_.layers() * 2) * rows_.size();
  const auto pointers = lists_.place<T*>(count);
  auto next = pointers.here.begin();
  for (std::int64_t call = 0; call < cache_.calls(); ++call) {
    for (std::int64_t layer = 0; layer < cache_.layers(); ++layer) {
      for (const LaneToken& row : rows_) {
        *next++ = cache_.keys(call, layer, row.lane).data;
      }
      for (const LaneToken& row : rows_) {
        *next++ = cache_.values(call, layer, row.lane).data;
      }
    }
  }
  pointers_ = pointers.there;
}

template <class T>
CacheRows<T> DecoderWork<T>::cache(std::int64_t call, std::int64_t layer) const {
  const std::size_t count = rows_.size();
  const std::size_t first = static_cast<std::size_t>(call * cache_.layers() + layer) * 2 * count;
  return {pointers_.subspan(first, count), pointers_.subspan(first + count, count)};
}

template class DecoderWork<float>;
template class DecoderWork<bf16>;

}  // namespace hrm::model
