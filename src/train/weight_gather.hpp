#pragma once
// From masters, of which every rank keeps its share, to every rank's network: bucket by bucket in compute type.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "base/device.hpp"
#include "comm/bucket_gather.hpp"
#include "comm/flat_shards.hpp"
#include "model/tensor_parallel.hpp"

namespace hrm::train {

/// One transfer of all weights at a time. While bucket b is loaded bucket b + 1 of the order travels: the network asks
/// for what it needs next (model::WeightFeed). Memory: two of the largest bucket in compute type. On a device masters
/// and buckets lie in its memory; `load` uses them on its stream compute().
class WeightGather final : public model::WeightFeed {
 public:
  using Load = std::function<void(int bucket, std::span<const std::byte> values)>;

  /// `owners`: who has which masters; with one rank, or where every rank owns all, nothing travels. `order`: buckets in
  /// order of first use.
  WeightGather(comm::Communicator& group, const ParameterTable& table, const comm::FlatShards& owners,
               std::vector<int> order, Precision precision, Device& device = host_device());

  /// Begins to send `own` (the share's float32 values, unchanged until the end) to `load` of every rank. Collective.
  void start(std::span<const float> own, Load load);
  void need(int bucket) override;
  void poll() override;
  /// Everything is loaded when this returns.
  void finish();

  /// Seconds spent waiting since the last call.
  double take_waited();

 private:
  std::span<std::byte> space(std::int64_t position);
  void send(std::int64_t position);
  void load_arrived();

  comm::FlatShards owners_;
  bool alone_;  ///< every rank owns all
  std::vector<int> order_;
  std::vector<FlatRange> ranges_;       // by bucket
  std::vector<std::int64_t> position_;  // of each bucket in order_
  Precision precision_;
  Device& device_;
  comm::BucketGather gather_;
  std::vector<Buffer<std::byte>> spaces_;  // two
  std::vector<Event> used_;                // by space: it has been loaded
  Event masters_ready_;
  Event cast_done_;
  std::span<const float> own_;
  Load load_;
  std::int64_t loaded_ = 0;  ///< positions of order_ that are done
  double waited_ = 0;
};

}  // namespace hrm::train
