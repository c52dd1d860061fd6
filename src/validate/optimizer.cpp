// Adam-atan2 with given gradients (golden C.5), through the optimizer of training on one flat array.
#include "optim/optimizer.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "base/round.hpp"
#include "validate/cases.hpp"
#include "validate/flat_state.hpp"

namespace hrm::validate {
namespace {

config::TrainConfig train_config(const GoldenFile& file) {
  config::TrainConfig train;
  train.beta1 = file.real_attribute("/", "beta1");
  train.beta2 = file.real_attribute("/", "beta2");
  train.weight_decay = file.real_attribute("/", "weight_decay");
  train.ema = file.has_attribute("/", "ema") ? file.real_attribute("/", "ema") : 0;
  const auto is_factor = [](double x) { return x >= 0 && x < 1; };
  if (!is_factor(train.beta1) || !is_factor(train.beta2) || !is_factor(train.ema) ||
      !std::isfinite(train.weight_decay)) {
    file.refuse("/", "beta1, beta2, weight_decay or ema is out of range");
  }
  return train;
}

ParameterTable table_of_weights(const GoldenFile& file) {
  ParameterTable table;
  for (const std::string& name : file.children("/weights")) {
    Parameter row;
    row.name = name;
    row.shape = file.shape("/weights/" + name);
    row.offset = table.flat_size;
    table.total_count += row.count();
    table.flat_size += round_up(row.count(), flat_block);
    table.rows.push_back(row);
  }
  if (table.rows.empty()) {
    file.refuse("/weights", "holds no tensor");
  }
  return table;
}

}  // namespace

void validate_optimizer(const GoldenFile& file, Report& report) {
  const std::int64_t steps = file.integer_attribute("/", "steps");
  const Reals rates = file.reals_attribute("/", "lr");
  if (steps < 1 || static_cast<std::int64_t>(rates.size()) != steps) {
    file.refuse("/@lr", "must hold one rate for each step");
  }
  const ParameterTable table = table_of_weights(file);
  FlatState state(table, train_config(file));
  state.read_weights(file, "/weights");
  for (std::int64_t step = 1; step <= steps; ++step) {
    const std::string group = fmt::format("/step_{}", step);
    const std::vector<bool> present = state.read_gradients(file, group + "/grads");
    state.update(rates[static_cast<std::size_t>(step - 1)], present);
    state.compare(file, group, true, StateLimits{}, report);
  }
  if (file.has(fmt::format("/step_{}", steps + 1))) {
    file.refuse("/@steps", "is less than the steps that the file holds");
  }
}

}  // namespace hrm::validate
