#include "validate/flat_state.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace hrm::validate {

FlatState::FlatState(const ParameterTable& table, const config::TrainConfig& config)
    : table_(table),
      config_(config),
      optimizer_(table, 0, table.flat_size, config),
      weights_(table.flat_size),
      gradient_(table.flat_size) {}

void FlatState::read_row(const GoldenFile& file, const std::string& path, const Parameter& row, std::span<float> flat) {
  const Reals values = file.reals(path, row.shape);
  std::transform(values.begin(), values.end(), flat.begin() + row.offset,
                 [](double value) { return static_cast<float>(value); });
}

Reals FlatState::row_values(std::span<const float> flat, const Parameter& row) const {
  const auto part = flat.subspan(static_cast<std::size_t>(row.offset), static_cast<std::size_t>(row.count()));
  return Reals(part.begin(), part.end());
}

void FlatState::read_weights(const GoldenFile& file, const std::string& group) {
  for (const Parameter& row : table_.rows) {
    if (row.trainable) {
      read_row(file, group + "/" + row.name, row, weights_.span());
    }
  }
  if (config_.ema > 0) {
    optimizer_.start_average(weights_.span());
  }
}

std::vector<bool> FlatState::read_gradients(const GoldenFile& file, const std::string& group) {
  std::vector<bool> present;
  for (const Parameter& row : table_.rows) {
    const std::string path = group + "/" + row.name;
    if (row.trainable) {
      read_row(file, path, row, gradient_.span());
    }
    present.push_back(row.trainable && file.flag_attribute(path, "has_grad"));
  }
  return present;
}

void FlatState::update(double learning_rate, const std::vector<bool>& has_gradient) {
  optimizer_.update(weights_.span(), gradient_.span(), learning_rate,
                    [&](int row) { return static_cast<bool>(has_gradient[static_cast<std::size_t>(row)]); });
}

void FlatState::compare_part(const GoldenFile& file, const std::string& group, bool complete,
                             std::span<const float> part, double limit, double slack, Report& report) {
  for (const Parameter& row : table_.rows) {
    const std::string path = group + "/" + row.name;
    if (!row.trainable || (!complete && !file.has(path))) {
      continue;
    }
    const Reals expected = file.reals(path, row.shape);
    double largest = 0;
    for (const double value : expected) {
      largest = std::max(largest, std::abs(value));
    }
    const double allowed = largest > 0 ? limit + slack / largest : limit + slack;
    report.reals(path.substr(1), row_values(part, row), expected, allowed);
  }
}

void FlatState::compare(const GoldenFile& file, const std::string& group, bool complete, const StateLimits& limits,
                        Report& report) {
  compare_part(file, group + "/weights", complete, weights_.span(), limits.weight, limits.weight_slack, report);
  if (config_.beta1 > 0) {
    compare_part(file, group + "/exp_avg", complete, optimizer_.first_moment().span(), limits.first_moment, 0, report);
  }
  compare_part(file, group + "/exp_avg_sq", complete, optimizer_.second_moment().span(), limits.second_moment, 0,
               report);
  if (config_.ema > 0) {
    compare_part(file, group + "/ema", complete, optimizer_.average().span(), limits.weight, limits.weight_slack,
                 report);
  }
  for (std::size_t row = 0; row < table_.rows.size(); ++row) {
    const std::string path = group + "/weights/" + table_.rows[row].name;
    if (table_.rows[row].trainable && file.has(path)) {
      report.count(path.substr(1) + "@updates", optimizer_.counts()[row], file.integer_attribute(path, "updates"));
    }
  }
}

void FlatState::compare_gradients(const GoldenFile& file, const std::string& group,
                                  const std::vector<bool>& has_gradient, double limit, Report& report) {
  for (std::size_t i = 0; i < table_.rows.size(); ++i) {
    const Parameter& row = table_.rows[i];
    if (!row.trainable) {
      continue;
    }
    const std::string path = group + "/" + row.name;
    report.count(path.substr(1) + "@has_grad", has_gradient[i] ? 1 : 0, file.flag_attribute(path, "has_grad") ? 1 : 0);
    report.reals(path.substr(1), row_values(gradient_.span(), row), file.reals(path, row.shape), limit);
  }
}

}  // namespace hrm::validate
