#include "train/metrics_row.hpp"

#include "base/buffer.hpp"

namespace hrm::train {

nlohmann::json metrics_row(const TrainState& state, const data::Batch& batch, std::int64_t slots,
                           const StepResult& result, double seconds) {
  const model::PackSums& sums = result.sums;
  const auto tokens = static_cast<double>(sums.tokens);
  const StepSeconds& part = result.seconds;
  return {{"record", "train"},
          {"step", state.step},
          {"epoch", state.epoch},
          {"tokens", state.tokens_seen},
          {"loss", sums.loss_sum / tokens},
          {"accuracy", static_cast<double>(sums.correct) / tokens},
          {"exact_accuracy", static_cast<double>(sums.exact) / static_cast<double>(sums.sequences)},
          {"learning_rate", state.learning_rate},
          {"bp_steps", state.bp_steps},
          {"gradient_norm", result.gradient_norm},
          {"seconds", seconds},
          {"tokens_per_second", static_cast<double>(batch.used_total) / seconds},
          {"seconds_data", part.data},
          {"seconds_forward", part.forward},
          {"seconds_backward", part.backward},
          {"seconds_communication", part.communication},
          {"seconds_optimizer", part.optimizer},
          {"memory_bytes", static_cast<std::int64_t>(memory_bytes_total())},
          {"packing_efficiency", static_cast<double>(batch.used_total) / static_cast<double>(batch.packs() * slots)}};
}

}  // namespace hrm::train
