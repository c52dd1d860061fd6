#include "validate/training.hpp"

#include <algorithm>

#include "validate/whole_tensors.hpp"

namespace hrm::validate {

std::unique_ptr<train::Learner> make_learner(const GoldenFile& file, const config::ModelConfig& model,
                                             const config::TrainConfig& train, const std::vector<GoldenPack>& packs,
                                             const Layout& layout, Report& report) {
  check_layout(file, model, std::ssize(packs), layout);
  config::RunConfig run = layout.config;
  run.model = model;
  run.model.max_seq_len = std::max(model.max_seq_len, packs[0].slots());
  run.train = train;
  run.train.packs = std::ssize(packs);
  run.train.pack_tokens = packs[0].slots();
  run.train.deterministic = layout.config.train.deterministic;
  run.train.recompute = layout.config.train.recompute;
  auto learner = std::make_unique<train::Learner>(layout.grid, run, report.precision());
  check_weights(file, learner->table(), report);
  learner->initialise([&file](const Parameter& row, std::int64_t first, std::span<float> values) {
    read_slice(file, "/weights", row, first, values);
  });
  return learner;
}

train::StepResult update(train::Learner& learner, const std::vector<GoldenPack>& packs, model::Horizon horizon,
                         double divisor, double learning_rate) {
  learner.begin_step();
  for (std::int64_t pack = learner.share().first; pack < learner.share().last; ++pack) {
    learner.accumulate(packs[static_cast<std::size_t>(pack)].view(), horizon, divisor);
  }
  return learner.finish_step(horizon, learning_rate);
}

void compare_gradients(const GoldenFile& file, const std::string& group, train::Learner& learner,
                       model::Horizon horizon, double limit, const Layout& layout, Report& report) {
  std::vector<bool> present;
  for (std::size_t row = 0; row < learner.table().rows.size(); ++row) {
    present.push_back(learner.table().rows[row].trainable &&
                      learner.network().has_gradient(static_cast<int>(row), horizon));
  }
  compare_gradients(file, group, learner.table(), present, gather(*layout.grid.world, learner.gradient_parts()), limit,
                    report);
}

}  // namespace hrm::validate
