#include "data/epoch_order.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.hpp"
#include "base/random.hpp"

namespace hrm::data {
namespace {

/// Fisher-Yates; element i of the shuffle uses number `first_number` + i of the stream.
void shuffle(std::span<std::uint32_t> values, const RandomStream& random, std::uint64_t first_number) {
  for (std::size_t i = values.size(); i > 1; --i) {
    const std::uint64_t other = random.below(first_number + i - 1, i);
    std::swap(values[i - 1], values[other]);
  }
}

}  // namespace

EpochOrder::EpochOrder(const SampleTable& table, std::vector<StratumShare> shares, std::int64_t seed)
    : table_(table), shares_(std::move(shares)), seed_(static_cast<std::uint64_t>(seed)) {
  for (const StratumShare& share : shares_) {
    size_ += share.shown();
  }
  constexpr std::int64_t limit = std::numeric_limits<std::uint32_t>::max();
  if (size_ > limit || table.count() > limit) {
    fail(ExitCode::bad_config,
         "an epoch of {} samples from a corpus of {}: at most {} each; cap strata with data.sampling", size_,
         table.count(), limit);
  }
}

void EpochOrder::fill(std::int64_t epoch, std::span<std::uint32_t> order) const {
  ensure(std::ssize(order) == size_, "the order has room for an epoch");
  std::size_t filled = 0;
  for (std::size_t sample = 0; sample < table_.stratum.size(); ++sample) {
    const std::uint16_t stratum = table_.stratum[sample];
    if (!capped(stratum)) {
      const auto repeat = static_cast<std::size_t>(shares_[stratum].repeat);
      std::ranges::fill(order.subspan(filled, repeat), static_cast<std::uint32_t>(sample));
      filled += repeat;
    }
  }
  draw_capped(epoch, order.subspan(filled));
  shuffle(order, RandomStream(seed_, RandomPurpose::epoch_order, static_cast<std::uint32_t>(epoch)), 0);
}

void EpochOrder::draw_capped(std::int64_t epoch, std::span<std::uint32_t> order) const {
  // Rows of the capped strata in corpus order, stratum after stratum.
  std::vector<std::size_t> first(shares_.size() + 1);
  for (std::size_t s = 0; s < shares_.size(); ++s) {
    first[s + 1] = first[s] + (capped(s) ? static_cast<std::size_t>(shares_[s].rows) : 0);
  }
  std::vector<std::uint32_t> rows(first.back());
  std::vector<std::size_t> next(first.begin(), first.end() - 1);
  for (std::size_t sample = 0; sample < table_.stratum.size(); ++sample) {
    const std::uint16_t stratum = table_.stratum[sample];
    if (capped(stratum)) {
      rows[next[stratum]++] = static_cast<std::uint32_t>(sample);
    }
  }
  for (std::size_t s = 0; s < shares_.size(); ++s) {
    if (capped(s)) {
      order = draw_stratum(epoch, s, std::span(rows).subspan(first[s], first[s + 1] - first[s]), order);
    }
  }
  ensure(order.empty(), "the shares of all strata fill the epoch");
}

/// Writes what the epoch draws of `rows` to the front of `order`; returns the rest of `order`.
std::span<std::uint32_t> EpochOrder::draw_stratum(std::int64_t epoch, std::size_t stratum,
                                                  std::span<const std::uint32_t> rows,
                                                  std::span<std::uint32_t> order) const {
  const StratumShare& share = shares_[stratum];
  const auto n = static_cast<std::uint64_t>(share.rows);
  const auto drawn = static_cast<std::uint64_t>(share.drawn);
  const auto repeat = static_cast<std::size_t>(share.repeat);
  const RandomStream random(seed_, RandomPurpose::stratum_order, static_cast<std::uint32_t>(stratum));
  const std::uint64_t cursor = static_cast<std::uint64_t>(epoch) * drawn;
  std::vector<std::uint32_t> permutation;
  for (std::uint64_t at = cursor; at < cursor + drawn; ++at) {
    if (at == cursor || at % n == 0) {
      permutation.assign(rows.begin(), rows.end());
      shuffle(permutation, random, at / n * n);
    }
    std::ranges::fill(order.first(repeat), permutation[at % n]);
    order = order.subspan(repeat);
  }
  return order;
}

std::vector<std::uint64_t> EpochOrder::cursors(std::int64_t epoch) const {
  std::vector<std::uint64_t> cursors;
  for (const StratumShare& share : shares_) {
    cursors.push_back(static_cast<std::uint64_t>(epoch) * static_cast<std::uint64_t>(share.drawn));
  }
  return cursors;
}

}  // namespace hrm::data
