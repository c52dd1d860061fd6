#pragma once
#include <cstdint>
#include <optional>

#include "train/time_limit.hpp"
#include "train/train_state.hpp"

namespace hrm::train {

/// What a start says before its first step: size, layout, time limit, and warnings about settings that will disappoint.
void announce(const RunFacts& facts, const TrainState& state, std::int64_t parameters,
              const std::optional<TimeLimit>& limit);

}  // namespace hrm::train
