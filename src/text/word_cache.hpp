#pragma once
// Remembers the tokens of short pieces, for one thread. Words repeat: most pieces of a text are answered from here.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

namespace hrm::text {

/// A direct-mapped table of 64-byte slots (2 MiB); a new piece replaces the one in its slot.
class WordCache {
 public:
  static constexpr std::size_t max_bytes = 30;
  static constexpr std::size_t max_ids = 8;

  struct alignas(64) Slot {
    std::array<char, max_bytes> piece;
    std::uint8_t bytes;  // 0: free; pieces are never empty
    std::uint8_t count;
    std::array<std::uint32_t, max_ids> ids;

    bool holds(std::string_view other) const {
      return bytes == other.size() && std::memcmp(piece.data(), other.data(), other.size()) == 0;
    }
  };

  /// Forgets everything when `owner` (a tokenizer's number) differs from the last one.
  void belong_to(std::uint64_t owner) {
    if (owner != owner_) {
      owner_ = owner;
      slots_.assign(slot_count, Slot{});
    }
  }

  /// The slot of a piece of at most max_bytes, whatever it holds.
  Slot& slot(std::string_view piece) { return slots_[std::hash<std::string_view>{}(piece) % slot_count]; }

  static void fill(Slot& slot, std::string_view piece, const std::uint32_t* ids, std::size_t count) {
    std::memcpy(slot.piece.data(), piece.data(), piece.size());
    slot.bytes = static_cast<std::uint8_t>(piece.size());
    slot.count = static_cast<std::uint8_t>(count);
    std::copy_n(ids, count, slot.ids.data());  // of a piece without tokens there are none
  }

 private:
  static constexpr std::size_t slot_count = 32768;
  std::uint64_t owner_ = 0;
  std::vector<Slot> slots_;
};

}  // namespace hrm::text
