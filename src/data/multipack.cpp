#include "data/multipack.hpp"

#include <algorithm>
#include <numeric>

#include "base/error.hpp"

namespace hrm::data {
namespace {

std::int64_t length_of(std::uint64_t key) {
  return static_cast<std::int64_t>(key >> 32);
}
std::int64_t position_of(std::uint64_t key) {
  return static_cast<std::int64_t>(key & 0xffffffffU);
}

}  // namespace

BinHeap::BinHeap(std::int64_t bins)
    : load_(static_cast<std::size_t>(bins) + 1), owner_(static_cast<std::size_t>(bins) + 1) {
  clear();
}

void BinHeap::clear() {
  std::fill(load_.begin(), load_.end(), 0);
  std::iota(owner_.begin(), owner_.end(), -1);
}

std::int64_t BinHeap::add(std::int64_t size) {
  const std::int64_t bin = owner_[1];
  load_[1] += size;
  const std::size_t bins = load_.size() - 1;
  std::size_t up = 1;
  while (2 * up <= bins) {
    std::size_t down = 2 * up;
    if (down + 1 <= bins && load_[down + 1] < load_[down]) {
      ++down;
    }
    if (load_[up] <= load_[down]) {
      break;
    }
    std::swap(load_[up], load_[down]);
    std::swap(owner_[up], owner_[down]);
    up = down;
  }
  return bin;
}

Multipack::Multipack(std::int64_t capacity, std::int64_t packs, bool drop_last, std::int64_t count, LengthAt length)
    : capacity_(capacity),
      packs_(packs),
      drop_last_(drop_last),
      count_(count),
      length_(std::move(length)),
      heap_(packs) {
  ensure(capacity > 0 && packs > 0 && count >= 0, "a plan has slots and packs");
}

void Multipack::load_window(std::int64_t first) {
  by_length_.clear();
  total_.assign(1, 0);
  longest_.assign(1, 0);
  for (std::int64_t at = first; at < count_ && total_.back() < capacity_ * packs_; ++at) {
    const std::int64_t length = length_(at);
    by_length_.push_back(static_cast<std::uint64_t>(length) << 32 | static_cast<std::uint64_t>(at - first));
    total_.push_back(total_.back() + length);
    longest_.push_back(std::max(longest_.back(), length));
  }
  std::sort(by_length_.begin(), by_length_.end(), std::greater<>());
}

bool Multipack::fits(std::int64_t samples) {
  // Without trial: a sample z goes to a bin of at most (total - z) / packs, so none exceeds total / packs + (1 - 1 /
  // packs) z.
  const auto n = static_cast<std::size_t>(samples);
  if (total_[n] + (packs_ - 1) * longest_[n] <= packs_ * capacity_) {
    return true;
  }
  heap_.clear();
  for (const std::uint64_t key : by_length_) {
    if (position_of(key) >= samples) {
      continue;
    }
    if (heap_.emptiest_load() + length_of(key) > capacity_) {
      return false;
    }
    heap_.add(length_of(key));
  }
  return true;
}

std::int64_t Multipack::take(std::int64_t first) {
  if (first >= count_) {
    return 0;
  }
  load_window(first);
  // The predicate is not monotone: exactly this search, with a single sample taken untested.
  std::int64_t low = 1;
  std::int64_t high = std::ssize(by_length_) + 1;
  while (high - low > 1) {
    const std::int64_t middle = (low + high) / 2;
    (fits(middle) ? low : high) = middle;
  }
  const bool last = first + low >= count_;
  return low < packs_ || (drop_last_ && last) ? 0 : low;
}

void Multipack::assign(std::int64_t first, std::int64_t count, PackedPositions& batch) {
  load_window(first);
  heap_.clear();
  bin_of_.clear();
  batch.first.assign(static_cast<std::size_t>(packs_) + 1, 0);
  for (const std::uint64_t key : by_length_) {
    bin_of_.push_back(position_of(key) < count ? heap_.add(length_of(key)) : -1);
    if (bin_of_.back() >= 0) {
      ++batch.first[static_cast<std::size_t>(bin_of_.back()) + 1];
    }
  }
  std::partial_sum(batch.first.begin(), batch.first.end(), batch.first.begin());
  batch.positions.resize(static_cast<std::size_t>(count));
  std::vector<std::int64_t>& next = total_;  // free until the next window
  next.assign(batch.first.begin(), batch.first.end());
  for (std::size_t i = 0; i < by_length_.size(); ++i) {
    if (bin_of_[i] >= 0) {
      const std::int64_t to = next[static_cast<std::size_t>(bin_of_[i])]++;
      batch.positions[static_cast<std::size_t>(to)] = first + position_of(by_length_[i]);
    }
  }
}

std::vector<PackedPositions> plan_epoch(std::span<const std::int64_t> lengths, std::int64_t capacity,
                                        std::int64_t packs, bool drop_last) {
  Multipack planner(capacity, packs, drop_last, std::ssize(lengths),
                    [&](std::int64_t at) { return lengths[static_cast<std::size_t>(at)]; });
  std::vector<PackedPositions> batches;
  std::int64_t first = 0;
  while (const std::int64_t count = planner.take(first)) {
    planner.assign(first, count, batches.emplace_back());
    first += count;
  }
  return batches;
}

}  // namespace hrm::data
