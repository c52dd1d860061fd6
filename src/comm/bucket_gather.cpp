#include "comm/bucket_gather.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace hrm::comm {

BucketGather::BucketGather(Communicator& group, const FlatShards& owners, std::size_t element_bytes, std::int64_t unit)
    : group_(group), element_bytes_(static_cast<std::int64_t>(element_bytes)) {
  const int ranks = group.size();
  ensure(owners.ranks() == ranks, "shares are gathered from all ranks of a group");
  units_.resize(static_cast<std::size_t>(owners.buckets()));
  TreePlanner planner(ranks, group.rank(), ranks);
  for (int bucket = 0; bucket < owners.buckets(); ++bucket) {
    first_.push_back(owners.share(bucket, 0).first);
    if (ranks > 1) {
      for (const std::vector<FlatRange>& owned : owners.units(bucket, unit)) {
        units_[static_cast<std::size_t>(bucket)].push_back(planner.plan(owned));
      }
    }
  }
}

void BucketGather::start(int bucket, std::span<std::byte> values) {
  ensure(!under_way_, "a gather is still under way");
  bucket_ = bucket;
  values_ = values;
  round_ = 0;
  if (more_rounds()) {
    start_round();
  }
}

bool BucketGather::more_rounds() const {
  const auto& units = units_[static_cast<std::size_t>(bucket_)];
  return !units.empty() && round_ < std::ssize(units) + std::ssize(units.front()) - 1;
}

/// Round q takes unit q - l down over the l-th level from the top, for every level.
void BucketGather::start_round() {
  const auto& units = units_[static_cast<std::size_t>(bucket_)];
  const std::int64_t levels = std::ssize(units.front());
  const auto bytes = [&](FlatRange range) {
    const std::int64_t first = (range.first - first_[static_cast<std::size_t>(bucket_)]) * element_bytes_;
    return values_.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(range.count() * element_bytes_));
  };
  sends_.clear();
  receives_.clear();
  for (std::int64_t down = 0; down < levels; ++down) {
    const std::int64_t unit = round_ - down;
    if (unit < 0 || unit >= std::ssize(units)) {
      continue;
    }
    const TreeLevel& level = units[static_cast<std::size_t>(unit)][static_cast<std::size_t>(levels - 1 - down)];
    for (const TreeMessage& message : level.receives) {
      sends_.push_back({message.peer, bytes(message.range)});
    }
    for (const TreeMessage& message : level.sends) {
      receives_.push_back({message.peer, bytes(message.range)});
    }
  }
  group_.start_exchange(sends_, receives_);
  under_way_ = true;
}

bool BucketGather::poll() {
  while (under_way_) {
    if (!group_.poll()) {
      return false;
    }
    under_way_ = false;
    ++round_;
    if (more_rounds()) {
      start_round();
    }
  }
  return true;
}

void BucketGather::finish() {
  while (!poll()) {
    group_.finish_exchange();
  }
}

}  // namespace hrm::comm
