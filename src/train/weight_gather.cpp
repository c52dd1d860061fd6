#include "train/weight_gather.hpp"

#include <algorithm>
#include <utility>

#include "base/bf16.hpp"
#include "base/timer.hpp"
#include "kernels/elementwise.hpp"

namespace hrm::train {
namespace {

std::size_t element_bytes(Precision precision) {
  return precision == Precision::bf16 ? sizeof(bf16) : sizeof(float);
}

template <class T>
void cast(Stream stream, std::span<const float> from, std::span<std::byte> to) {
  kernels::cast<T>(stream, from, std::span(reinterpret_cast<T*>(to.data()), from.size()));
}

}  // namespace

WeightGather::WeightGather(comm::Communicator& group, const ParameterTable& table, const comm::FlatShards& owners,
                           std::vector<int> order, Precision precision, Device& device)
    : owners_(owners),
      alone_(owners.ranks() == 1),
      order_(std::move(order)),
      position_(table.buckets.size()),
      precision_(precision),
      device_(device),
      gather_(group, alone_ ? comm::FlatShards({}, group.rank(), group.size()) : owners, element_bytes(precision)),
      loaded_(std::ssize(order_)) {
  std::int64_t largest = 0;
  for (const Bucket& bucket : table.buckets) {
    ranges_.push_back(bucket.range);
    largest = std::max(largest, bucket.range.count());
  }
  for (std::size_t i = 0; i < order_.size(); ++i) {
    position_[static_cast<std::size_t>(order_[i])] = static_cast<std::int64_t>(i);
  }
  const bool as_they_are = alone_ && precision == Precision::fp32;
  for (int i = 0; i < (as_they_are ? 0 : alone_ ? 1 : 2); ++i) {
    spaces_.emplace_back(largest * static_cast<std::int64_t>(element_bytes(precision)), MemoryPart::weights,
                         device.memory());
    used_.push_back(device.make_event());
  }
  masters_ready_ = device.make_event();
  cast_done_ = device.make_event();
}

std::span<std::byte> WeightGather::space(std::int64_t position) {
  const int bucket = order_[static_cast<std::size_t>(position)];
  Buffer<std::byte>& buffer = spaces_[static_cast<std::size_t>(position) % spaces_.size()];
  return buffer.span(
      0, ranges_[static_cast<std::size_t>(bucket)].count() * static_cast<std::int64_t>(element_bytes(precision_)));
}

void WeightGather::start(std::span<const float> own, Load load) {
  own_ = own;
  load_ = std::move(load);
  loaded_ = 0;
  device_.record(masters_ready_, device_.compute());
  device_.hold(device_.exchange(), masters_ready_);
  if (!order_.empty()) {
    send(0);
  }
  if (alone_) {
    finish();
  }
}

/// Puts the own share in compute type into its place and starts its way.
void WeightGather::send(std::int64_t position) {
  const int bucket = order_[static_cast<std::size_t>(position)];
  const FlatRange share = alone_ ? ranges_[static_cast<std::size_t>(bucket)] : owners_.own(bucket);
  const auto own =
      own_.subspan(static_cast<std::size_t>(owners_.place(bucket)), static_cast<std::size_t>(share.count()));
  if (spaces_.empty()) {
    return;
  }
  const std::size_t first = static_cast<std::size_t>(share.first - ranges_[static_cast<std::size_t>(bucket)].first);
  const std::span<std::byte> place =
      space(position).subspan(first * element_bytes(precision_), own.size() * element_bytes(precision_));
  const Stream stream = device_.exchange();
  device_.hold(stream, used_[static_cast<std::size_t>(position) % spaces_.size()]);
  precision_ == Precision::bf16 ? cast<bf16>(stream, own, place) : cast<float>(stream, own, place);
  device_.record(cast_done_, stream);
  if (!alone_) {
    gather_.start(bucket, space(position));
  }
}

/// The bucket under way has arrived: the next one sets out, then this one is loaded.
void WeightGather::load_arrived() {
  const std::int64_t position = loaded_;
  const int bucket = order_[static_cast<std::size_t>(position)];
  const bool more = position + 1 < std::ssize(order_);
  if (more && spaces_.size() == 2) {
    send(position + 1);
  }
  if (spaces_.empty()) {
    const auto first = static_cast<std::size_t>(owners_.place(bucket));
    const auto count = static_cast<std::size_t>(ranges_[static_cast<std::size_t>(bucket)].count());
    load_(bucket, std::as_bytes(own_.subspan(first, count)));
  } else {
    device_.hold(device_.compute(), cast_done_);
    load_(bucket, space(position));
    device_.record(used_[static_cast<std::size_t>(position) % spaces_.size()], device_.compute());
  }
  if (more && spaces_.size() == 1) {
    send(position + 1);
  }
  ++loaded_;
}

void WeightGather::poll() {
  if (!alone_ && loaded_ < std::ssize(order_) && gather_.poll()) {
    load_arrived();
  }
}

void WeightGather::need(int bucket) {
  while (loaded_ <= position_[static_cast<std::size_t>(bucket)]) {
    if (!alone_) {
      const Timer timer;
      gather_.finish();
      waited_ += timer.seconds();
    }
    load_arrived();
  }
}

void WeightGather::finish() {
  if (!order_.empty()) {
    need(order_.back());
  }
}

double WeightGather::take_waited() {
  return std::exchange(waited_, 0.0);
}

}  // namespace hrm::train
