// Packs that share one divisor (golden B.2, C.3): the same gradient whatever ranks hold them.
#include <fmt/core.h>

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "validate/cases.hpp"
#include "validate/training.hpp"

namespace hrm::validate {
namespace {

std::vector<GoldenPack> read_packs(const GoldenFile& file, std::int64_t vocabulary, Report& report) {
  const std::int64_t count = file.integer_attribute("/", "num_ranks");
  if (count < 1 || file.has(fmt::format("/batch_{}", count))) {
    file.refuse("/@num_ranks", "is not the number of batches");
  }
  std::vector<GoldenPack> packs;
  for (std::int64_t i = 0; i < count; ++i) {
    packs.push_back(
        read_pack(file, fmt::format("/batch_{}", i), file.integer_attribute("/", "max_tokens"), vocabulary, report));
  }
  return packs;
}

Ints valid_counts(const std::vector<GoldenPack>& packs) {
  Ints counts;
  for (const GoldenPack& pack : packs) {
    counts.push_back(static_cast<std::int64_t>(pack.rows.size()));
  }
  return counts;
}

}  // namespace

void validate_ranks(const GoldenFile& file, const Layout& layout, Report& report) {
  config::ModelConfig model = read_model_config(file, report);
  const model::Horizon horizon{read_bp_steps(file, model)};
  if (horizon.steps > 0) {
    model.bp_min_steps = horizon.steps;
    model.bp_max_steps = horizon.steps;
  }
  const std::vector<GoldenPack> packs = read_packs(file, model.vocab_size, report);
  const auto count = static_cast<std::int64_t>(packs.size());
  const Ints counts = valid_counts(packs);
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}));
  const double divisor = total / static_cast<double>(count);
  if (total == 0) {
    file.refuse("/batch_0/labels", "no batch holds a label");
  }
  const auto learner = make_learner(file, model, config::TrainConfig{}, packs, layout, report);
  Reals loss_sums;
  Reals losses;
  for (const GoldenPack& pack : packs) {
    loss_sums.push_back(learner->network().evaluate(pack.view()).loss_sum);
    losses.push_back(loss_sums.back() / divisor);
  }
  const train::StepResult step = update(*learner, packs, horizon, divisor, 0);

  const Limits limits = model_limits(model, report.precision());
  report.counts("expected/valid_counts", counts, file.ints("/expected/valid_counts", {count}));
  report.real("expected/divisor", divisor, file.real("/expected/divisor"), fp32_limits.value);
  report.reals("expected/loss_sums", loss_sums, file.reals("/expected/loss_sums", {count}), limits.value);
  report.reals("expected/rank_losses", losses, file.reals("/expected/rank_losses", {count}), limits.value);
  report.real("expected/pooled_loss", step.sums.loss_sum / total, file.real("/expected/pooled_loss"), limits.value);
  compare_gradients(file, "/expected/grads", *learner, horizon, limits.gradient, layout, report);
}

}  // namespace hrm::validate
