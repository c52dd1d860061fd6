#include "comm/flat_shards.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace hrm::comm {

FlatShards::FlatShards(std::span<const Bucket> buckets, int rank, int ranks) : rank_(rank), ranks_(ranks), place_{0} {
  std::int64_t next_with_more = 0;
  for (const Bucket& bucket : buckets) {
    ensure(bucket.range.first % flat_block == 0 && bucket.range.last % flat_block == 0,
           "a bucket is not a whole number of flat blocks");
    const std::int64_t blocks = bucket.range.count() / flat_block;
    const std::int64_t more = blocks % ranks;
    std::vector<std::int64_t> borders{bucket.range.first};
    for (int r = 0; r < ranks; ++r) {
      const bool one_more = (r - next_with_more + ranks) % ranks < more;
      borders.push_back(borders.back() + (blocks / ranks + (one_more ? 1 : 0)) * flat_block);
    }
    next_with_more = (next_with_more + more) % ranks;
    borders_.push_back(std::move(borders));
    place_.push_back(place_.back() + own(static_cast<int>(borders_.size()) - 1).count());
  }
}

FlatRange FlatShards::share(int bucket, int rank) const {
  const auto& borders = borders_[static_cast<std::size_t>(bucket)];
  return {borders[static_cast<std::size_t>(rank)], borders[static_cast<std::size_t>(rank) + 1]};
}

std::vector<FlatRange> FlatShards::own_ranges() const {
  std::vector<FlatRange> ranges;
  for (int bucket = 0; bucket < buckets(); ++bucket) {
    ranges.push_back(own(bucket));
  }
  return ranges;
}

std::vector<std::vector<FlatRange>> FlatShards::units(int bucket, std::int64_t size) const {
  const std::int64_t chunk = std::max<std::int64_t>(size / ranks_ / flat_block, 1) * flat_block;
  std::int64_t longest = 0;
  for (int rank = 0; rank < ranks_; ++rank) {
    longest = std::max(longest, share(bucket, rank).count());
  }
  std::vector<std::vector<FlatRange>> all;
  for (std::int64_t at = 0; at < longest; at += chunk) {
    all.emplace_back();
    for (int rank = 0; rank < ranks_; ++rank) {
      const FlatRange whole = share(bucket, rank);
      all.back().push_back({std::min(whole.first + at, whole.last), std::min(whole.first + at + chunk, whole.last)});
    }
  }
  return all;
}

}  // namespace hrm::comm
