#pragma once
// Packing of samples into batches (golden B.6): which samples a batch takes and which pack each goes to. The result is
// the reference's to the index, with its search and its heap. One batch at a time; the only state is a position, so a
// restart begins anywhere.
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace hrm::data {

/// A batch: positions in the epoch's order, pack after pack, each pack in packing order (descending length).
struct PackedPositions {
  std::vector<std::int64_t> positions;
  std::vector<std::int64_t> first;  ///< [packs + 1] where each pack begins in `positions`

  std::span<const std::int64_t> pack(std::int64_t p) const {
    const auto begin = static_cast<std::size_t>(first[static_cast<std::size_t>(p)]);
    const auto end = static_cast<std::size_t>(first[static_cast<std::size_t>(p) + 1]);
    return std::span(positions).subspan(begin, end - begin);
  }
};

/// The emptiest bin of golden B.6's heap, ties included.
class BinHeap {
 public:
  explicit BinHeap(std::int64_t bins);

  void clear();
  std::int64_t emptiest_load() const { return load_[1]; }
  /// Puts `size` into the emptiest bin and returns that bin's number.
  std::int64_t add(std::int64_t size);

 private:
  std::vector<std::int64_t> load_;   ///< [bins + 1], the heap begins at 1
  std::vector<std::int64_t> owner_;  ///< [bins + 1]
};

class Multipack {
 public:
  /// Length of the sample at a position of the epoch.
  using LengthAt = std::function<std::int64_t(std::int64_t)>;

  /// `packs` bins of `capacity` slots over positions [0, count).
  Multipack(std::int64_t capacity, std::int64_t packs, bool drop_last, std::int64_t count, LengthAt length);

  /// Samples of the batch that begins at position `first`; 0: no further batch is emitted. O(window log window).
  std::int64_t take(std::int64_t first);

  /// Assigns positions [first, first + count) to packs; `count` is what take(first) said.
  void assign(std::int64_t first, std::int64_t count, PackedPositions& batch);

 private:
  void load_window(std::int64_t first);
  bool fits(std::int64_t samples);

  std::int64_t capacity_;
  std::int64_t packs_;
  bool drop_last_;
  std::int64_t count_;
  LengthAt length_;
  BinHeap heap_;
  // Of the window that begins at the last `first`; positions count from there.
  std::vector<std::uint64_t> by_length_;  ///< length << 32 | position, descending
  std::vector<std::int64_t> total_;       ///< [window + 1] total length of the first i samples
  std::vector<std::int64_t> longest_;     ///< [window + 1] longest of the first i samples
  std::vector<std::int64_t> bin_of_;      ///< pack of each sample of by_length_
};

/// All batches of an epoch.
std::vector<PackedPositions> plan_epoch(std::span<const std::int64_t> lengths, std::int64_t capacity,
                                        std::int64_t packs, bool drop_last);

}  // namespace hrm::data
