#pragma once
// Weights, gradient and optimizer state of all tensors in one flat array, as training keeps them; read from and
// compared with golden files. Shared by optimizer files and model cases.
#include <string>
#include <vector>

#include "base/buffer.hpp"
#include "base/parameter.hpp"
#include "optim/optimizer.hpp"
#include "validate/golden_file.hpp"
#include "validate/report.hpp"

namespace hrm::validate {

/// Allowed errors of the state after updates, relative to the largest element.
struct StateLimits {
  double weight = fp32_limits.value;  ///< also of the averages
  double first_moment = fp32_limits.value;
  double second_moment = fp32_limits.value;
  double weight_slack = 0;  ///< absolute, besides the relative limit
};

class FlatState {
 public:
  FlatState(const ParameterTable& table, const config::TrainConfig& config);

  /// Every trainable row from GROUP/<name>; the average starts from it.
  void read_weights(const GoldenFile& file, const std::string& group);
  /// Every trainable row from GROUP/<name>; false where the attribute has_grad is 0.
  std::vector<bool> read_gradients(const GoldenFile& file, const std::string& group);

  std::span<float> weights() { return weights_.span(); }
  std::span<float> gradient() { return gradient_.span(); }

  /// One update of the rows that have a gradient.
  void update(double learning_rate, const std::vector<bool>& has_gradient);

  /// GROUP/{weights,exp_avg,exp_avg_sq,ema}/<name> and the attribute `updates`. `complete`: every trainable row must be
  /// there; otherwise those that are.
  void compare(const GoldenFile& file, const std::string& group, bool complete, const StateLimits& limits,
               Report& report);

  /// Compares the gradient with GROUP/<name>; rows without one must be marked so and be zero.
  void compare_gradients(const GoldenFile& file, const std::string& group, const std::vector<bool>& has_gradient,
                         double limit, Report& report);

 private:
  void compare_part(const GoldenFile& file, const std::string& group, bool complete, std::span<const float> part,
                    double limit, double slack, Report& report);
  Reals row_values(std::span<const float> flat, const Parameter& row) const;
  void read_row(const GoldenFile& file, const std::string& path, const Parameter& row, std::span<float> flat);

  const ParameterTable& table_;
  config::TrainConfig config_;
  optim::Optimizer optimizer_;
  Buffer<float> weights_;
  Buffer<float> gradient_;
};

}  // namespace hrm::validate
