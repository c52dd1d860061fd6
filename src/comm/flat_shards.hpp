#pragma once
// Who owns which elements of the flat array of parameters.
#include <cstdint>
#include <span>
#include <vector>

#include "base/parameter.hpp"

namespace hrm::comm {

/// Every bucket is cut into one contiguous share of whole flat blocks per rank, in rank order; the ranks that get one
/// block more take turns from bucket to bucket, so that all of them own the same within one block. A rank keeps its
/// shares one after the other, in bucket order, in storage of its own.
class FlatShards {
 public:
  FlatShards(std::span<const Bucket> buckets, int rank, int ranks);

  int buckets() const { return static_cast<int>(borders_.size()); }
  int ranks() const { return ranks_; }
  /// Flat elements of `bucket` that `rank` owns; may be empty.
  FlatRange share(int bucket, int rank) const;
  /// Those of this rank.
  FlatRange own(int bucket) const { return share(bucket, rank_); }
  std::vector<FlatRange> own_ranges() const;
  /// `bucket` in units of about `size` elements, in order: every rank's chunk of its share, by rank; chunks are whole
  /// blocks, at least one.
  std::vector<std::vector<FlatRange>> units(int bucket, std::int64_t size) const;
  /// Where the own share of `bucket` begins in this rank's storage, and the size of that.
  std::int64_t place(int bucket) const { return place_[static_cast<std::size_t>(bucket)]; }
  std::int64_t size() const { return place_.back(); }

 private:
  int rank_;
  int ranks_;
  std::vector<std::vector<std::int64_t>> borders_;  // (buckets, ranks + 1)
  std::vector<std::int64_t> place_;                 // (buckets + 1)
};

}  // namespace hrm::comm
