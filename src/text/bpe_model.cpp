#include "text/bpe_model.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <queue>

#include "base/digest.hpp"

namespace hrm::text {
namespace {

constexpr std::uint64_t free_key = ~std::uint64_t{0};
constexpr std::uint32_t no_rank = ~std::uint32_t{0};
constexpr std::size_t short_length = 48;  // up to here a scan for the lowest rank beats a heap

std::uint64_t pair_key(std::uint32_t left, std::uint32_t right) {
  return std::uint64_t{left} << 32 | right;
}

}  // namespace

BpeModel::BpeModel(const std::array<std::int64_t, 256>& byte_ids, std::span<const MergeRule> rules)
    : byte_ids_(byte_ids),
      table_(std::bit_ceil(2 * rules.size() + 2), Entry{free_key, no_rank, 0}),
      mask_(table_.size() - 1) {
  for (std::size_t rank = 0; rank < rules.size(); ++rank) {
    insert(rules[rank], static_cast<std::uint32_t>(rank));
  }
}

void BpeModel::insert(const MergeRule& rule, std::uint32_t rank) {
  const std::uint64_t key = pair_key(rule.left, rule.right);
  std::uint64_t at = splitmix64(key) & mask_;
  while (table_[at].pair != free_key && table_[at].pair != key) {
    at = (at + 1) & mask_;
  }
  table_[at] = {key, rank, rule.merged};
}

const BpeModel::Entry* BpeModel::find(std::uint32_t left, std::uint32_t right) const {
  const std::uint64_t key = pair_key(left, right);
  std::uint64_t at = splitmix64(key) & mask_;
  while (table_[at].pair != key) {
    if (table_[at].pair == free_key) {
      return nullptr;
    }
    at = (at + 1) & mask_;
  }
  return &table_[at];
}

void BpeModel::encode(std::string_view bytes, std::vector<std::uint32_t>& ids) const {
  std::array<std::uint32_t, short_length> few;
  std::vector<std::uint32_t> many;
  if (bytes.size() > short_length) {
    many.resize(bytes.size());
  }
  std::uint32_t* const symbols = bytes.size() > short_length ? many.data() : few.data();
  std::size_t count = 0;
  for (const char byte : bytes) {
    const std::int64_t id = byte_ids_[static_cast<unsigned char>(byte)];
    if (id >= 0) {
      symbols[count++] = static_cast<std::uint32_t>(id);
    }
  }
  if (count <= short_length) {
    merge_short({symbols, count}, ids);
  } else {
    merge_long({symbols, count}, ids);
  }
}

void BpeModel::merge_short(std::span<const std::uint32_t> given, std::vector<std::uint32_t>& ids) const {
  std::array<std::uint32_t, short_length> symbols;
  std::array<std::uint32_t, short_length> ranks;   // of the pair that starts here
  std::array<std::uint32_t, short_length> merged;  // what that pair becomes
  std::size_t count = given.size();
  std::copy(given.begin(), given.end(), symbols.begin());
  const auto look_up = [&](std::size_t i) {
    const Entry* entry = i + 1 < count ? find(symbols[i], symbols[i + 1]) : nullptr;
    ranks[i] = entry != nullptr ? entry->rank : no_rank;
    merged[i] = entry != nullptr ? entry->merged : 0;
  };
  for (std::size_t i = 0; i < count; ++i) {
    look_up(i);
  }
  while (count > 1) {
    const auto lowest = std::min_element(ranks.begin(), ranks.begin() + static_cast<std::ptrdiff_t>(count));
    if (*lowest == no_rank) {
      break;
    }
    const auto at = static_cast<std::size_t>(lowest - ranks.begin());
    symbols[at] = merged[at];
    for (std::size_t i = at + 1; i + 1 < count; ++i) {
      symbols[i] = symbols[i + 1];
      ranks[i] = ranks[i + 1];
      merged[i] = merged[i + 1];
    }
    --count;
    look_up(at);
    if (at > 0) {
      look_up(at - 1);
    }
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + static_cast<std::ptrdiff_t>(count));
}

void BpeModel::merge_long(std::span<const std::uint32_t> given, std::vector<std::uint32_t>& ids) const {
  struct Symbol {
    std::uint32_t id;
    std::ptrdiff_t previous;
    std::ptrdiff_t next;
    bool live;
  };
  struct Candidate {
    std::uint32_t rank;
    std::ptrdiff_t at;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  const auto count = static_cast<std::ptrdiff_t>(given.size());
  std::vector<Symbol> symbols(given.size());
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    symbols[i] = {given[i], i - 1, i + 1, true};
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto rule_at = [&](std::ptrdiff_t i) -> const Entry* {
    return symbols[i].next < count ? find(symbols[i].id, symbols[symbols[i].next].id) : nullptr;
  };
  const auto offer = [&](std::ptrdiff_t i) {
    if (const Entry* rule = rule_at(i)) {
      queue.push({rule->rank, i});
    }
  };
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    offer(i);
  }
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = symbols[best.at];
    const Entry* rule = left.live ? rule_at(best.at) : nullptr;
    if (rule == nullptr || rule->rank != best.rank) {
      continue;  // an earlier merge took one of the two
    }
    symbols[left.next].live = false;
    left.id = rule->merged;
    left.next = symbols[left.next].next;
    if (left.next < count) {
      symbols[left.next].previous = best.at;
    }
    offer(best.at);
    if (left.previous >= 0) {
      offer(left.previous);
    }
  }
  for (const Symbol& symbol : symbols) {
    if (symbol.live) {
      ids.push_back(symbol.id);
    }
  }
}

}  // namespace hrm::text
