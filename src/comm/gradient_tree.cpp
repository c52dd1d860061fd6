#include "comm/gradient_tree.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/parameter.hpp"
#include "base/round.hpp"
#include "base/timer.hpp"
#include "kernels/elementwise.hpp"

namespace hrm::comm {
namespace {

constexpr Stream host{};

}  // namespace

std::int64_t GradientTree::partials(std::int64_t packs, PackRange share) {
  TreeSum order(packs);
  std::int64_t most = 0;
  for (std::int64_t pack = share.first; pack < share.last; ++pack) {
    order.push({{pack, pack + 1}, 0}, [&](int, int) {});
    most = std::max<std::int64_t>(most, std::ssize(order.held()) + (pack + 1 < share.last ? 1 : 0));
  }
  return most;
}

GradientTree::Rounds GradientTree::plan_rounds(std::int64_t packs, std::int64_t flat_size, int rank, int ranks,
                                               std::int64_t limit) {
  if (ranks == 1) {
    return {};
  }
  std::int64_t leaves = 0;
  for (int r = 0; r < ranks; ++r) {
    leaves += std::ssize(covering_nodes(packs, pack_share(packs, r, ranks)));
  }
  // The same chunk on every rank: the limit counts all leaves although a rank's own are not received.
  const std::int64_t longest = flat_share(flat_size, 0, ranks).count();
  const std::int64_t affordable = std::max(flat_block, limit / leaves / flat_block * flat_block);
  Rounds rounds;
  rounds.chunk = std::min(affordable, round_up(longest, flat_block));
  rounds.count = rounds.chunk == 0 ? 0 : (longest + rounds.chunk - 1) / rounds.chunk;
  rounds.received = leaves - std::ssize(covering_nodes(packs, pack_share(packs, rank, ranks)));
  return rounds;
}

std::int64_t GradientTree::bytes(std::int64_t packs, std::int64_t flat_size, int rank, int ranks,
                                 std::int64_t receive_limit) {
  const Rounds rounds = plan_rounds(packs, flat_size, rank, ranks, receive_limit);
  const std::int64_t floats =
      partials(packs, pack_share(packs, rank, ranks)) * flat_size + 2 * rounds.received * rounds.chunk;
  return floats * static_cast<std::int64_t>(sizeof(float));
}

GradientTree::GradientTree(Communicator& group, std::int64_t packs, std::int64_t flat_size, bool shared,
                           std::int64_t receive_limit)
    : group_(group),
      packs_(packs),
      flat_size_(flat_size),
      shared_(shared),
      share_(pack_share(packs, group.rank(), group.size())),
      own_(flat_share(flat_size, group.rank(), group.size())),
      rounds_(plan_rounds(packs, flat_size, group.rank(), group.size(), receive_limit)),
      local_(packs),
      leaves_(all_leaves()),
      across_(packs),
      received_(2 * rounds_.received * rounds_.chunk, MemoryPart::tree) {
  for (std::int64_t i = 0; i < partials(packs, share_); ++i) {
    buffers_.emplace_back(flat_size, MemoryPart::tree);
  }
  owners_first_.push_back(0);
  for (int rank = 0; rank < group.size(); ++rank) {
    owners_first_.push_back(flat_share(flat_size, rank, group.size()).last);
  }
  sends_.reserve(buffers_.size() * static_cast<std::size_t>(group.size()));
  receives_.reserve(static_cast<std::size_t>(rounds_.received));
  start();
}

std::vector<GradientTree::Leaf> GradientTree::all_leaves() const {
  std::vector<Leaf> leaves;
  int received = 0;
  for (int rank = 0; rank < group_.size(); ++rank) {
    int held = 0;
    for (const PackRange node : covering_nodes(packs_, pack_share(packs_, rank, group_.size()))) {
      leaves.push_back({node, rank, rank == group_.rank() ? held++ : received++});
    }
  }
  return leaves;
}

void GradientTree::start() {
  local_.clear();
  done_ = 0;
  current_ = -1;
  free_.clear();
  for (int i = static_cast<int>(buffers_.size()) - 1; i >= 0; --i) {
    free_.push_back(i);
  }
}

std::span<float> GradientTree::current() {
  if (current_ < 0) {
    ensure(done_ < share_.count(), "all packs of this rank are done");
    current_ = free_.back();
    free_.pop_back();
    kernels::zero(host, buffers_[static_cast<std::size_t>(current_)].span());
  }
  return buffers_[static_cast<std::size_t>(current_)].span();
}

void GradientTree::pack_done() {
  current();
  const std::int64_t pack = share_.first + done_++;
  local_.push({{pack, pack + 1}, current_}, [&](int left, int right) {
    kernels::tree_add(host, buffers_[static_cast<std::size_t>(left)].span(),
                      buffers_[static_cast<std::size_t>(right)].span());
    free_.push_back(right);
  });
  current_ = -1;
}

FlatRange GradientTree::chunk_of(int rank, std::int64_t round) const {
  const auto owner = static_cast<std::size_t>(rank);
  const std::int64_t first = std::min(owners_first_[owner] + round * rounds_.chunk, owners_first_[owner + 1]);
  return {first, std::min(first + rounds_.chunk, owners_first_[owner + 1])};
}

std::span<float> GradientTree::leaf_part(const Leaf& leaf, std::int64_t round) {
  const FlatRange chunk = chunk_of(group_.rank(), round);
  if (leaf.rank == group_.rank()) {
    const int slot = local_.held()[static_cast<std::size_t>(leaf.place)].slot;
    return buffers_[static_cast<std::size_t>(slot)].span(chunk.first, chunk.count());
  }
  const std::int64_t place = (round % 2) * rounds_.received + leaf.place;
  return received_.span(place * rounds_.chunk, chunk.count());
}

void GradientTree::start_round(std::int64_t round) {
  sends_.clear();
  receives_.clear();
  for (int owner = 0; owner < group_.size(); ++owner) {
    const FlatRange chunk = chunk_of(owner, round);
    if (owner == group_.rank() || chunk.count() == 0) {
      continue;
    }
    for (const TreeSum::Partial& partial : local_.held()) {
      sends_.push_back({owner, buffers_[static_cast<std::size_t>(partial.slot)].span(chunk.first, chunk.count())});
    }
  }
  for (const Leaf& leaf : leaves_) {
    if (leaf.rank != group_.rank() && chunk_of(group_.rank(), round).count() > 0) {
      receives_.push_back({leaf.rank, leaf_part(leaf, round)});
    }
  }
  group_.start_exchange(sends_, receives_);
}

void GradientTree::sum_round(std::int64_t round, std::span<float> result) {
  const FlatRange chunk = chunk_of(group_.rank(), round);
  if (chunk.count() == 0) {
    return;
  }
  across_.clear();
  for (int i = 0; i < static_cast<int>(leaves_.size()); ++i) {
    across_.push({leaves_[static_cast<std::size_t>(i)].node, i}, [&](int left, int right) {
      kernels::tree_add(host, leaf_part(leaves_[static_cast<std::size_t>(left)], round),
                        leaf_part(leaves_[static_cast<std::size_t>(right)], round));
      group_.poll();
    });
  }
  ensure(across_.held().size() == 1, "the leaves of all ranks make one tree");
  const std::span<float> root = leaf_part(leaves_.front(), round);
  std::copy(root.begin(), root.end(), result.begin() + (chunk.first - own_.first));
}

double GradientTree::reduce(std::span<float> result) {
  ensure(done_ == share_.count(), "every pack of this rank is done before the reduction");
  ensure(std::ssize(result) == (shared_ ? own_.count() : flat_size_), "result has the size of the sum");
  if (group_.size() == 1) {
    kernels::cast<float>(host, buffers_[static_cast<std::size_t>(local_.held().front().slot)].span(), result);
    return 0;
  }
  const std::span<float> own_result =
      shared_ ? result : result.subspan(static_cast<std::size_t>(own_.first), static_cast<std::size_t>(own_.count()));
  double waited = 0;
  // Round r + 1 travels while round r is summed; own slices change, but nobody else is sent those.
  for (std::int64_t round = 0; round <= rounds_.count; ++round) {
    if (round < rounds_.count) {
      start_round(round);
    }
    if (round > 0) {
      sum_round(round - 1, own_result);
    }
    const Timer wait;
    group_.finish_exchange();
    waited += wait.seconds();
  }
  if (!shared_) {
    const Timer wait;
    group_.all_gather(result, owners_first_);
    waited += wait.seconds();
  }
  return waited;
}

}  // namespace hrm::comm
