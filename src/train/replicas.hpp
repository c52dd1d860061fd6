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

/// Every rank loads the weights anew. InputError(numerics) naming those that got other ones than their replicas.
void require_equal_replicas(comm::Grid& grid, Learner& learner, std::int64_t step);

}  // namespace hrm::train
