#pragma once
// Byte-pair merges of one piece of text.
#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace hrm::text {

/// Two neighbouring tokens become one.
struct MergeRule {
  std::uint32_t left;
  std::uint32_t right;
  std::uint32_t merged;
};

/// Merge rules ranked by their place in a list (0 is applied first). Safe to use from several threads.
class BpeModel {
 public:
  /// `byte_ids[b]` is the token of byte b alone, -1 for a byte that the vocabulary lacks.
  BpeModel(const std::array<std::int64_t, 256>& byte_ids, std::span<const MergeRule> rules);

  /// Appends the tokens of `bytes`: bytes without a token are dropped, then the pair of lowest rank (the leftmost of
  /// equal ones) is merged until no neighbours have a rule.
  void encode(std::string_view bytes, std::vector<std::uint32_t>& ids) const;

 private:
  struct Entry {
    std::uint64_t pair;
    std::uint32_t rank;
    std::uint32_t merged;
  };
  const Entry* find(std::uint32_t left, std::uint32_t right) const;
  void insert(const MergeRule& rule, std::uint32_t rank);
  void merge_short(std::span<const std::uint32_t> symbols, std::vector<std::uint32_t>& ids) const;
  void merge_long(std::span<const std::uint32_t> symbols, std::vector<std::uint32_t>& ids) const;

  std::array<std::int64_t, 256> byte_ids_;
  std::vector<Entry> table_;  // open addressing, a power of two, at most half full
  std::uint64_t mask_ = 0;
};

}  // namespace hrm::text
