// A whole model (golden C.1): batch, forward pass, gradients, and three updates on the same batch.
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "validate/cases.hpp"
#include "validate/lead.hpp"
#include "validate/training.hpp"
#include "validate/whole_tensors.hpp"

namespace hrm::validate {
namespace {

constexpr std::int64_t updates = 3;

config::TrainConfig optimizer_config(const GoldenFile& file) {
  config::TrainConfig train;
  train.beta1 = file.real_attribute("/", "optim_beta1");
  train.beta2 = file.real_attribute("/", "optim_beta2");
  train.weight_decay = file.real_attribute("/", "optim_weight_decay");
  train.ema = file.has_attribute("/", "optim_ema") ? file.real_attribute("/", "optim_ema") : 0;
  train.learning_rate = file.real_attribute("/", "optim_lr");
  return train;
}

/// bp_steps of updates 1, 2, 3.
std::vector<std::int64_t> steps_per_update(const GoldenFile& file, std::int64_t bp_steps) {
  std::vector<std::int64_t> steps(updates, bp_steps);
  if (file.has_attribute("/", "bp_steps_per_update")) {
    const Reals given = file.reals_attribute("/", "bp_steps_per_update");
    if (given.size() != steps.size() || *std::min_element(given.begin(), given.end()) < 2) {
      file.refuse("/@bp_steps_per_update", "must hold three horizons of at least 2");
    }
    std::transform(given.begin(), given.end(), steps.begin(), [](double x) { return static_cast<std::int64_t>(x); });
  }
  return steps;
}

double largest_magnitude(const Reals& values) {
  double largest = 0;
  for (const double value : values) {
    largest = std::max(largest, std::abs(value));
  }
  return largest;
}

/// Smallest gap between the best and the second logit of the supervised rows; infinity without any.
double smallest_margin(std::span<const float> logits, const GoldenPack& pack) {
  const std::size_t width = logits.size() / pack.inputs.size();
  double smallest = HUGE_VAL;
  for (const std::int32_t row : pack.rows) {
    smallest = std::min(smallest, lead(logits.subspan(static_cast<std::size_t>(row) * width, width)).margin);
  }
  return smallest;
}

/// In bfloat16 an element whose gradient is all rounding error may go the other way: 2 learning rates for each update.
StateLimits state_limits(Precision precision, const Limits& limits, double rate) {
  if (precision == Precision::fp32) {
    return {};
  }
  return {limits.value, limits.gradient, 2 * limits.gradient, 2 * rate * static_cast<double>(updates)};
}

/// One model case in progress: the three parts in this order.
class ModelCase {
 public:
  ModelCase(const GoldenFile& file, const Layout& layout, Report& report);

  void compare_forward();
  void compare_gradients();
  void compare_updates();

 private:
  void plan_horizons();
  void compare_trace(const model::Inspection& seen);
  void compare_predictions(const model::Inspection& seen, const Reals& logits);
  const GoldenPack& pack() const { return packs_[0]; }
  /// The next of the three updates; adds its loss to losses_.
  void update_once();

  const GoldenFile& file_;
  const Layout& layout_;
  Report& report_;
  config::ModelConfig model_;
  std::int64_t bp_steps_;
  std::vector<std::int64_t> update_steps_;
  std::vector<GoldenPack> packs_;  ///< one
  Limits limits_;
  config::TrainConfig train_;
  std::unique_ptr<train::Learner> learner_;
  Reals losses_;  ///< mean loss of each update so far
};

ModelCase::ModelCase(const GoldenFile& file, const Layout& layout, Report& report)
    : file_(file),
      layout_(layout),
      report_(report),
      model_(read_model_config(file, report)),
      bp_steps_(read_bp_steps(file, model_)),
      update_steps_(steps_per_update(file, bp_steps_)),
      packs_{read_pack(file, "/batch", file.integer_attribute("/", "max_tokens"), model_.vocab_size, report)},
      limits_(model_limits(model_, report.precision())),
      train_(optimizer_config(file)) {
  report.count("@num_sequences", static_cast<std::int64_t>(pack().prefix_lens.size()),
               file.integer_attribute("/", "num_sequences"));
  report.count("@total_tokens", pack().total(), file.integer_attribute("/", "total_tokens"));
  compare_with_samples(file, "/batch", pack(), file.flag_attribute("/", "target_only"), report);
  if (pack().rows.empty()) {
    file.refuse("/batch/labels", "holds no label");
  }
  plan_horizons();
  learner_ = make_learner(file, model_, train_, packs_, layout, report);
}

/// The network plans its memory for these.
void ModelCase::plan_horizons() {
  if (bp_steps_ > 0) {
    model_.bp_min_steps = std::min(bp_steps_, *std::min_element(update_steps_.begin(), update_steps_.end()));
    model_.bp_max_steps = std::max(bp_steps_, *std::max_element(update_steps_.begin(), update_steps_.end()));
    report_.count("@bp_steps_per_update/0", update_steps_[0], bp_steps_);
  }
}

void ModelCase::compare_trace(const model::Inspection& seen) {
  const std::string group = "/expected/trace";
  if (!file_.has(group)) {
    return;
  }
  report_.count("expected/trace", static_cast<std::int64_t>(seen.trace.size()),
                static_cast<std::int64_t>(file_.children(group).size()));
  for (const auto& [step, output] : seen.trace) {
    const std::string path = group + "/" + step;
    report_.reals(path.substr(1), Reals(output.begin(), output.end()),
                  file_.reals(path, {pack().slots(), model_.hidden_size}), limits_.value);
  }
}

void ModelCase::compare_predictions(const model::Inspection& seen, const Reals& logits) {
  const double margin = file_.real("/expected/argmax_margin_min");
  const double largest = largest_magnitude(logits);
  const double off = limits_.value * largest;
  // A margin is a difference of two logits, so it is as exact as they are.
  const double computed = smallest_margin(seen.logits, pack());
  report_.reals("expected/argmax_margin_min", {&computed, 1}, {&margin, 1}, 2 * limits_.value, largest);
  if (report_.precision() != Precision::fp32 && margin <= 2 * off) {
    return;  // rounding may change a prediction
  }
  report_.count("expected/correct_count", seen.sums.correct, file_.integer("/expected/correct_count"));
  report_.count("expected/exact_count", seen.sums.exact, file_.integer("/expected/exact_count"));
}

void ModelCase::compare_forward() {
  const model::Inspection seen = learner_->network().inspect(pack().view());
  const Reals logits = file_.reals("/expected/logits", {pack().slots(), model_.vocab_size});
  compare_trace(seen);
  report_.reals("expected/z_final", Reals(seen.z.begin(), seen.z.end()),
                file_.reals("/expected/z_final", {pack().slots(), model_.hidden_size}), limits_.value);
  report_.reals("expected/logits", Reals(seen.logits.begin(), seen.logits.end()), logits, limits_.value);
  report_.real("expected/loss_sum", seen.sums.loss_sum, file_.real("/expected/loss_sum"), limits_.value);
  report_.real("expected/loss", seen.sums.loss_sum / static_cast<double>(seen.sums.tokens),
               file_.real("/expected/loss"), limits_.value);
  report_.count("expected/valid_count", seen.sums.tokens, file_.integer("/expected/valid_count"));
  report_.count("expected/exact_total", seen.sums.sequences, file_.integer("/expected/exact_total"));
  compare_predictions(seen, logits);
}

void ModelCase::update_once() {
  const std::int64_t steps = update_steps_[losses_.size()];
  const train::StepResult result = update(*learner_, packs_, {steps}, pack().valid(), train_.learning_rate);
  losses_.push_back(result.sums.loss_sum / pack().valid());
}

void ModelCase::compare_gradients() {
  update_once();
  validate::compare_gradients(file_, "/expected/grads", *learner_, {bp_steps_}, limits_.gradient, layout_, report_);
}

void ModelCase::compare_updates() {
  const std::string group = "/expected/after3";
  if (!file_.has(group)) {
    return;
  }
  while (losses_.size() < update_steps_.size()) {
    update_once();
  }
  losses_.push_back(learner_->network().evaluate(pack().view()).loss_sum / pack().valid());
  report_.reals("expected/after3/losses", losses_, file_.reals(group + "/losses", {updates + 1}), limits_.value);
  compare_state(file_, group, file_.flag_attribute(group, "complete"), learner_->table(),
                gather(*layout_.grid.world, learner_->checkpoint_parts()),
                state_limits(report_.precision(), limits_, train_.learning_rate), report_);
}

}  // namespace

void validate_model(const GoldenFile& file, const Layout& layout, Report& report) {
  ModelCase model_case(file, layout, report);
  model_case.compare_forward();
  model_case.compare_gradients();
  model_case.compare_updates();
}

}  // namespace hrm::validate
