#include "data/pack_reader.hpp"

#include "base/error.hpp"

namespace hrm::data {

PackReader::PackReader(SharedCorpus& corpus, std::int64_t most_packs, std::int64_t slots, Supervise supervise)
    : corpus_(corpus),
      most_packs_(most_packs),
      slots_(slots),
      supervise_(supervise),
      reader_(corpus.token_files()),
      tokens_(most_packs * 2 * slots, MemoryPart::data) {
  ranges_.reserve(static_cast<std::size_t>(most_packs * slots));
  samples_.reserve(static_cast<std::size_t>(most_packs * slots));
  first_.reserve(static_cast<std::size_t>(most_packs) + 1);
}

void PackReader::start(std::span<const std::uint32_t> samples, std::span<const std::int64_t> first) {
  ensure(!first.empty() && std::ssize(first) - 1 <= most_packs_, "no more packs than there is room for");
  ranges_.clear();
  samples_.clear();
  first_.clear();
  for (const std::int64_t border : first) {
    first_.push_back(border - first.front());
  }
  std::int64_t used = 0;
  for (std::int64_t i = first.front(); i < first.back(); ++i) {
    const std::int64_t sample = samples[static_cast<std::size_t>(i)];
    const io::TokenRange range = corpus_.tokens(sample, tokens_.data() + used);
    ensure(used + range.count <= tokens_.size(), "the samples of a pack fit into its slots");
    ranges_.push_back(range);
    samples_.push_back({tokens_.span(used, range.count), corpus_.table().prefix(sample)});
    used += range.count;
  }
  reader_.start(ranges_);
}

void PackReader::finish() {
  reader_.finish();
}

void PackReader::build(std::int64_t index, Pack& pack) {
  ensure(pack.slots == slots_, "a pack of the size that was planned");
  const auto begin = static_cast<std::size_t>(first_[static_cast<std::size_t>(index)]);
  const auto end = static_cast<std::size_t>(first_[static_cast<std::size_t>(index) + 1]);
  build_pack(std::span(samples_).subspan(begin, end - begin), supervise_, pack);
}

}  // namespace hrm::data
