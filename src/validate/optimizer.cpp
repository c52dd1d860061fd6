// Adam-atan2 with given gradients (golden C.5), through the optimizer of training on one flat array.
#include "optim/optimizer.hpp"

#include <fmt/core.h>

#include <cmath>

#include "base/buffer.hpp"
#include "base/error.hpp"
#include "base/round.hpp"
#include "validate/cases.hpp"
#include "validate/whole_tensors.hpp"

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
    row.slice.logical_shape = row.shape;
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

/// Weights, gradient and optimizer of all tensors.
class State {
 public:
  State(const GoldenFile& file, const ParameterTable& table, const config::TrainConfig& config)
      : file_(file),
        table_(table),
        all_{{0, table.flat_size}},
        optimizer_(table, all_, config),
        weights_(table.flat_size),
        gradient_(table.flat_size) {
    read("/weights", weights_);
    if (config.ema > 0) {
      optimizer_.start_average(weights_.span());
    }
  }

  void update(const std::string& gradients, double learning_rate) {
    read(gradients, gradient_);
    optimizer_.update(weights_.span(), gradient_.span(), learning_rate, [&](int row) {
      return file_.flag_attribute(gradients + "/" + table_.rows[static_cast<std::size_t>(row)].name, "has_grad");
    });
  }

  WholeTensors whole() {
    std::vector<io::TensorPart> parts;
    add("/model/", weights_, parts);
    add("/optimizer/exp_avg/", optimizer_.first_moment(), parts);
    add("/optimizer/exp_avg_sq/", optimizer_.second_moment(), parts);
    add("/ema/", optimizer_.average(), parts);
    return gather(*comm::serial_communicator(), parts);
  }

 private:
  void read(const std::string& group, Buffer<float>& flat) {
    for (const Parameter& row : table_.rows) {
      read_slice(file_, group, row, 0, flat.span(row.offset, row.count()));
    }
  }

  /// All rows of a state that is kept.
  void add(const std::string& folder, const Buffer<float>& flat, std::vector<io::TensorPart>& parts) const {
    for (std::size_t i = 0; flat.size() > 0 && i < table_.rows.size(); ++i) {
      const Parameter& row = table_.rows[i];
      parts.push_back({folder + row.name, row.slice, 0, row.count(), flat.data() + row.offset, optimizer_.counts()[i]});
    }
  }

  const GoldenFile& file_;
  const ParameterTable& table_;
  std::vector<FlatRange> all_;
  optim::Optimizer optimizer_;
  Buffer<float> weights_;
  Buffer<float> gradient_;
};

}  // namespace

void validate_optimizer(const GoldenFile& file, Report& report) {
  const std::int64_t steps = file.integer_attribute("/", "steps");
  const Reals rates = file.reals_attribute("/", "lr");
  if (steps < 1 || static_cast<std::int64_t>(rates.size()) != steps) {
    file.refuse("/@lr", "must hold one rate for each step");
  }
  const ParameterTable table = table_of_weights(file);
  State state(file, table, train_config(file));
  for (std::int64_t step = 1; step <= steps; ++step) {
    const std::string group = fmt::format("/step_{}", step);
    state.update(group + "/grads", rates[static_cast<std::size_t>(step - 1)]);
    compare_state(file, group, true, table, state.whole(), StateLimits{}, report);
  }
  if (file.has(fmt::format("/step_{}", steps + 1))) {
    file.refuse("/@steps", "is less than the steps that the file holds");
  }
}

}  // namespace hrm::validate
