#pragma once
// Every rank's share of a bucket goes to every rank: recursive doubling, the way of the gradients' reduction backwards,
// so that the smallest messages cross between far ranks.
#include <cstdint>
#include <span>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/flat_shards.hpp"
#include "comm/tree_plan.hpp"

namespace hrm::comm {

/// One bucket at a time: start(), poll() until true or finish().
class BucketGather {
 public:
  /// `unit`: elements that travel at a time.
  BucketGather(Communicator& group, const FlatShards& owners, std::size_t element_bytes,
               std::int64_t unit = std::int64_t{1} << 23);

  /// `values` are all elements of the bucket, of which the own share is filled in; it stays alive until the end.
  void start(int bucket, std::span<std::byte> values);
  /// True when all shares have arrived.
  bool poll();
  void finish();

 private:
  using Unit = std::vector<TreeLevel>;  ///< sends and receives as in the reduction: the directions are swapped
  void start_round();
  bool more_rounds() const;

  Communicator& group_;
  std::int64_t element_bytes_;
  std::vector<std::vector<Unit>> units_;  // by bucket
  std::vector<std::int64_t> first_;       // of each bucket in the flat array
  int bucket_ = 0;
  std::span<std::byte> values_;
  std::int64_t round_ = 0;
  bool under_way_ = false;
  std::vector<Send> sends_;
  std::vector<Receive> receives_;
};

}  // namespace hrm::comm
