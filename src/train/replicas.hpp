#pragma once
// Whether data-parallel ranks, which hold the same slices, still hold the same weights.
#include <cstdint>
#include <span>
#include <string>

#include "base/parameter.hpp"
#include "comm/grid.hpp"
#include "train/learner.hpp"

namespace hrm::train {

/// Names every rank whose `digests` (Learner::reload) are not those of more than half of its data-parallel group: rank,
/// host and first tensor concerned, one after the other. Of two that differ both are named. Empty where all agree.
/// Collective over the grid's world; the same answer on every rank.
std::string differing_replicas(comm::Grid& grid, const ParameterTable& table, std::span<const std::uint64_t> digests);

/// Names every rank whose network has changed between two digests of its memory (Learner::memory_digests), with the
/// first tensor concerned; empty where none has. Collective; the same answer on every rank.
std::string changed_networks(comm::Grid& grid, const ParameterTable& table, std::span<const std::uint64_t> before,
                             std::span<const std::uint64_t> after);

/// Every rank loads the weights anew. InputError(numerics) naming the ranks whose network held other weights than its
/// masters give, and those that got other ones than their replicas. Layouts in memory depend on the processor, so what
/// lies there is compared with the same rank's weights loaded anew, and what is loaded with the other ranks'.
void require_equal_replicas(comm::Grid& grid, Learner& learner, std::int64_t step);

}  // namespace hrm::train
