#include "data/pack.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace hrm::data {
namespace {

void clear(Pack& pack) {
  pack.used = 0;
  std::ranges::fill(pack.inputs, 0);
  std::ranges::fill(pack.labels, Pack::no_label);
  std::ranges::fill(pack.position_ids, 0);
  pack.cu_seqlens.assign(1, 0);
  for (auto* list : {&pack.prefix_lens, &pack.causal_lens, &pack.supervised_rows, &pack.supervised_labels,
                     &pack.supervised_sequence}) {
    list->clear();
  }
}

void append(const SampleTokens& sample, Supervise supervise, Pack& pack) {
  const std::int64_t length = std::ssize(sample.tokens) - 1;
  ensure(sample.prefix >= 1 && sample.prefix <= length, "a sample has instruction and response");
  ensure(pack.used + length <= pack.slots, "the samples of a pack fit into its slots");
  const auto sequence = static_cast<std::int32_t>(pack.sequences());
  const std::int64_t first_label = supervise == Supervise::all ? 0 : sample.prefix - 1;
  for (std::int64_t t = 0; t < length; ++t) {
    const auto slot = static_cast<std::size_t>(pack.used + t);
    pack.inputs[slot] = sample.tokens[static_cast<std::size_t>(t)];
    pack.position_ids[slot] = static_cast<std::int32_t>(t);
    if (t >= first_label) {
      const std::int32_t label = sample.tokens[static_cast<std::size_t>(t) + 1];
      pack.labels[slot] = label;
      pack.supervised_rows.push_back(static_cast<std::int32_t>(slot));
      pack.supervised_labels.push_back(label);
      pack.supervised_sequence.push_back(sequence);
    }
  }
  pack.used += length;
  pack.cu_seqlens.push_back(static_cast<std::int32_t>(pack.used));
  pack.prefix_lens.push_back(static_cast<std::int32_t>(sample.prefix));
  pack.causal_lens.push_back(static_cast<std::int32_t>(length - sample.prefix));
}

}  // namespace

Pack::Pack(std::int64_t n) : slots(n) {
  const auto size = static_cast<std::size_t>(n);
  inputs.resize(size);
  labels.resize(size, no_label);
  position_ids.resize(size);
  cu_seqlens.reserve(size + 1);
  cu_seqlens.push_back(0);
  for (auto* list : {&prefix_lens, &causal_lens, &supervised_rows, &supervised_labels, &supervised_sequence}) {
    list->reserve(size);
  }
}

void build_pack(std::span<const SampleTokens> samples, Supervise supervise, Pack& pack) {
  clear(pack);
  for (const SampleTokens& sample : samples) {
    append(sample, supervise, pack);
  }
}

}  // namespace hrm::data
