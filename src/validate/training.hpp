#pragma once
// Updates of a file's model by the learner of `hrm train`, on any layout.
#include <memory>
#include <string>
#include <vector>

#include "train/learner.hpp"
#include "validate/golden_model.hpp"
#include "validate/layout.hpp"

namespace hrm::validate {

/// A learner of `model` with the file's weights, for batches of `packs`. `train`: the optimizer's settings.
std::unique_ptr<train::Learner> make_learner(const GoldenFile& file, const config::ModelConfig& model,
                                             const config::TrainConfig& train, const std::vector<GoldenPack>& packs,
                                             const Layout& layout, Report& report);

/// One update on all packs; each rank works on its share of them.
train::StepResult update(train::Learner& learner, const std::vector<GoldenPack>& packs, model::Horizon horizon,
                         double divisor, double learning_rate);

/// Compares the last update's gradient sums with GROUP/NAME.
void compare_gradients(const GoldenFile& file, const std::string& group, train::Learner& learner,
                       model::Horizon horizon, double limit, const Layout& layout, Report& report);

}  // namespace hrm::validate
