#include "validate/sequences.hpp"

#include <algorithm>

namespace hrm::validate {

Sequences read_sequences(const GoldenFile& file, const std::string& group, std::int64_t slots, Report& report) {
  Sequences sequences;
  sequences.prefix_lens = file.ids(group + "/prefix_lens", {any_extent});
  const auto count = static_cast<std::int64_t>(sequences.prefix_lens.size());
  sequences.cu_seqlens = file.ids(group + "/cu_seqlens", {count + 1});
  const Ints causal_lens = file.ints(group + "/causal_lens", {count});
  const std::vector<std::int32_t>& cu = sequences.cu_seqlens;
  Ints rest;
  for (std::size_t s = 0; s + 1 < cu.size(); ++s) {
    const std::int64_t length = static_cast<std::int64_t>(cu[s + 1]) - cu[s];
    const std::int64_t prefix = sequences.prefix_lens[s];
    if (prefix < 0 || length < prefix || cu[s + 1] > slots) {
      file.refuse(group + "/cu_seqlens", "the sequences do not fit the rows or their prefixes");
    }
    rest.push_back(length - prefix);
    sequences.longest = std::max(sequences.longest, length);
  }
  if (cu[0] != 0) {
    file.refuse(group + "/cu_seqlens", "does not begin with 0");
  }
  sequences.total = cu.back();
  report.counts(group.substr(1) + "/causal_lens", rest, causal_lens);
  return sequences;
}

}  // namespace hrm::validate
