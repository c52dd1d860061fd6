#include "comm/gradient_tree.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "kernels/elementwise.hpp"

namespace hrm::comm {
namespace {

std::int64_t flat_size(std::span<const Bucket> buckets) {
  return buckets.empty() ? 0 : buckets.back().range.last;
}

std::int64_t largest_share(const FlatShards& owners) {
  std::int64_t most = 0;
  for (int bucket = 0; bucket < owners.buckets(); ++bucket) {
    most = std::max(most, owners.own(bucket).count());
  }
  return most;
}

}  // namespace

bool are_siblings(std::int64_t packs, PackRange left, PackRange right) {
  if (left.last != right.first) {
    return false;
  }
  PackRange node{0, packs};
  while (node.count() > left.count() + right.count()) {
    const std::int64_t middle = split_of(node);
    node = left.first < middle ? PackRange{node.first, middle} : PackRange{middle, node.last};
  }
  return node.count() > 1 && node == PackRange{left.first, right.last} && split_of(node) == left.last;
}

std::int64_t GradientTree::partials(std::int64_t packs, PackRange share) {
  TreeSum order(packs);
  std::int64_t most = 0;
  for (std::int64_t pack = share.first; pack < share.last; ++pack) {
    order.push({{pack, pack + 1}, 0}, [&](int, int) {});
    most = std::max<std::int64_t>(most, std::ssize(order.held()) + (pack + 1 < share.last ? 1 : 0));
  }
  return most;
}

GradientTree::Units GradientTree::plan_units(std::int64_t packs, const FlatShards& owners, int rank,
                                             std::int64_t unit) {
  Units units;
  units.by_bucket.resize(static_cast<std::size_t>(owners.buckets()));
  const int ranks = owners.ranks();
  if (ranks == 1) {
    return units;
  }
  TreePlanner planner(packs, rank, ranks);
  for (int bucket = 0; bucket < owners.buckets(); ++bucket) {
    for (const std::vector<FlatRange>& owned : owners.units(bucket, unit)) {
      Unit levels = planner.plan(owned);
      units.space.resize(levels.size());
      for (std::size_t level = 0; level < levels.size(); ++level) {
        units.space[level] = std::max(units.space[level], levels[level].received());
      }
      units.by_bucket[static_cast<std::size_t>(bucket)].push_back(std::move(levels));
    }
  }
  return units;
}

std::int64_t GradientTree::bytes(std::int64_t packs, std::span<const Bucket> buckets, int rank, int ranks,
                                 const ReductionOptions& options) {
  const FlatShards owners(buckets, rank, ranks);
  std::int64_t floats = flat_size(buckets);
  if (options.deterministic) {
    floats *= partials(packs, pack_share(packs, rank, ranks));
    for (const std::int64_t space : plan_units(packs, owners, rank, options.unit).space) {
      floats += space;
    }
  } else if (ranks > 1) {
    floats += largest_share(owners);
  }
  return floats * static_cast<std::int64_t>(sizeof(float));
}

GradientTree::GradientTree(Communicator& group, std::int64_t packs, const FlatShards& owners,
                           const ReductionOptions& options, Device& device)
    : group_(group),
      packs_(packs),
      owners_(owners),
      options_(options),
      device_(device),
      share_(pack_share(packs, group.rank(), group.size())),
      local_(packs) {
  ensure(owners.ranks() == group.size(), "gradients are reduced to all ranks of a group");
  if (options.deterministic) {
    units_ = plan_units(packs, owners, group.rank(), options.unit);
  }
  std::int64_t space = 0;
  for (const std::int64_t floats : units_.space) {
    space_first_.push_back(space);
    space += floats;
  }
  if (!options.deterministic && group.size() > 1) {
    space = largest_share(owners);
  }
  received_ = Buffer<float>(space, MemoryPart::tree, device.memory());
  for (int bucket = 0; bucket < owners.buckets(); ++bucket) {
    final_.push_back(device.make_event());
  }
  reduced_ = device.make_event();
  const std::int64_t flat = owners.buckets() == 0 ? 0 : owners.share(owners.buckets() - 1, group.size() - 1).last;
  const std::int64_t count = options.deterministic ? partials(packs, share_) : 1;
  for (std::int64_t i = 0; i < count; ++i) {
    buffers_.emplace_back(flat, i == 0 ? MemoryPart::gradients : MemoryPart::tree, device.memory());
  }
  start();
}

void GradientTree::start() {
  local_.clear();
  done_ = 0;
  current_ = -1;
  queue_.clear();
  bucket_queue_.clear();
  closed_ = false;
  round_ = 0;
  free_.clear();
  for (int i = static_cast<int>(buffers_.size()) - 1; i >= 0; --i) {
    free_.push_back(i);
  }
}

std::span<float> GradientTree::part(int slot, FlatRange range) {
  return buffers_[static_cast<std::size_t>(slot)].span(range.first, range.count());
}

std::span<float> GradientTree::leaf(int index, FlatRange range) {
  return part(local_.held()[static_cast<std::size_t>(index)].slot, range);
}

std::span<float> GradientTree::current() {
  if (current_ >= 0) {
    return buffers_[static_cast<std::size_t>(current_)].span();
  }
  ensure(done_ < share_.count(), "all packs of this rank are done");
  merges_.clear();
  if (!options_.deterministic) {
    current_ = 0;
    if (done_ > 0) {
      return buffers_.front().span();
    }
  } else {
    current_ = free_.back();
    free_.pop_back();
    const std::int64_t pack = share_.first + done_;
    local_.push({{pack, pack + 1}, current_}, [&](int left, int right) {
      merges_.emplace_back(left, right);
      free_.push_back(right);
    });
  }
  const std::span<float> buffer = buffers_[static_cast<std::size_t>(current_)].span();
  kernels::zero(device_.compute(), buffer);
  return buffer;
}

void GradientTree::finished(int bucket) {
  const FlatRange range{owners_.share(bucket, 0).first, owners_.share(bucket, owners_.ranks() - 1).last};
  for (const auto& [left, right] : merges_) {
    kernels::tree_add(device_.compute(), part(left, range), part(right, range));
  }
  if (!last_pack() || group_.size() == 1) {
    return;
  }
  device_.record(final_[static_cast<std::size_t>(bucket)], device_.compute());
  if (!options_.deterministic) {
    bucket_queue_.push_back(bucket);
  } else {
    for (const Unit& unit : units_.by_bucket[static_cast<std::size_t>(bucket)]) {
      queue_.push_back({&unit, bucket});
    }
  }
  progress();
}

void GradientTree::pack_done() {
  current();
  ++done_;
  current_ = -1;
}

std::span<float> GradientTree::result() {
  return buffers_[static_cast<std::size_t>(options_.deterministic ? local_.held().front().slot : 0)].span();
}

double GradientTree::reduce() {
  const Timer timer;
  ensure(done_ == share_.count(), "a pack of this rank is not done");
  closed_ = true;
  for (progress(); under_way_; progress()) {
    group_.finish_exchange();
  }
  device_.record(reduced_, device_.exchange());
  device_.hold(device_.compute(), reduced_);
  return timer.seconds();
}

/// Whether round round_ is complete in what it takes along, so that all ranks start the same one.
bool GradientTree::can_start() const {
  if (!options_.overlap && !closed_) {
    return false;
  }
  if (!options_.deterministic) {
    return round_ < std::ssize(bucket_queue_);
  }
  const std::int64_t units = std::ssize(queue_);
  const std::int64_t rounds = units == 0 ? 0 : units + std::ssize(*queue_.front().unit) - 1;
  return round_ < units || (closed_ && round_ < rounds);
}

void GradientTree::progress() {
  while (true) {
    if (under_way_) {
      if (!group_.poll()) {
        return;
      }
      add_received();
      under_way_ = false;
      ++round_;
    }
    if (!can_start()) {
      return;
    }
    start_round();
    under_way_ = true;
  }
}

/// Calls use(level, its receive space) for what round round_ takes along.
template <class Use>
void GradientTree::for_each_level(Use&& use) {
  for (std::int64_t level = 0; level < std::ssize(space_first_); ++level) {
    const std::int64_t unit = round_ - level;
    if (unit >= 0 && unit < std::ssize(queue_)) {
      use((*queue_[static_cast<std::size_t>(unit)].unit)[static_cast<std::size_t>(level)],
          space_first_[static_cast<std::size_t>(level)]);
    }
  }
}

void GradientTree::start_round() {
  if (!options_.deterministic) {
    const int bucket = bucket_queue_[static_cast<std::size_t>(round_)];
    const std::int64_t first = owners_.share(bucket, 0).first;
    device_.hold(device_.exchange(), final_[static_cast<std::size_t>(bucket)]);
    borders_.assign(1, 0);
    for (int rank = 0; rank < group_.size(); ++rank) {
      borders_.push_back(owners_.share(bucket, rank).last - first);
    }
    group_.start_reduce_scatter(part(0, {first, first + borders_.back()}), borders_,
                                received_.span(0, owners_.own(bucket).count()));
    return;
  }
  if (round_ < std::ssize(queue_)) {
    device_.hold(device_.exchange(), final_[static_cast<std::size_t>(queue_[static_cast<std::size_t>(round_)].bucket)]);
  }
  sends_.clear();
  receives_.clear();
  for_each_level([&](const TreeLevel& level, std::int64_t space) {
    for (const TreeMessage& message : level.sends) {
      sends_.push_back({message.peer, std::as_bytes(leaf(message.leaf, message.range))});
    }
    for (const TreeMessage& message : level.receives) {
      const std::int64_t count = message.range.count();
      receives_.push_back({message.peer, std::as_writable_bytes(received_.span(space, count))});
      space += count;
    }
  });
  group_.start_exchange(sends_, receives_);
}

void GradientTree::add_received() {
  if (!options_.deterministic) {
    const FlatRange own = owners_.own(bucket_queue_[static_cast<std::size_t>(round_)]);
    const std::span<float> sum = received_.span(0, own.count());
    kernels::cast<float>(device_.exchange(), sum, part(0, own));
    return;
  }
  for_each_level([&](const TreeLevel& level, std::int64_t space) { add_level(level, space); });
}

void GradientTree::add_level(const TreeLevel& level, std::int64_t space) {
  const Stream stream = device_.exchange();
  for (const TreeMessage& message : level.receives) {
    const std::span<float> sum = leaf(message.leaf, message.range);
    if (message.other != message.leaf) {
      kernels::cast<float>(stream, leaf(message.other, message.range), sum);
    }
    kernels::tree_add(stream, sum, received_.span(space, message.range.count()));
    space += message.range.count();
  }
  for (const TreeAddition& addition : level.additions) {
    kernels::tree_add(stream, leaf(addition.into, addition.range), leaf(addition.from, addition.range));
  }
}

}  // namespace hrm::comm
