#pragma once
#include <nlohmann/json.hpp>

#include "data/batch_plan.hpp"
#include "train/learner.hpp"
#include "train/train_state.hpp"

namespace hrm::train {

/// One row of /train (io/metrics.hpp): what step `state.step` computed in `seconds`. `slots`: of a pack.
nlohmann::json metrics_row(const TrainState& state, const data::Batch& batch, std::int64_t slots,
                           const StepResult& result, double seconds);

}  // namespace hrm::train
