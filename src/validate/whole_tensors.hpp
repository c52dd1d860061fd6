#pragma once
// State and gradients as files know them: whole tensors, put together from the parts of all ranks.
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/parameter.hpp"
#include "comm/communicator.hpp"
#include "io/checkpoint.hpp"
#include "validate/golden_file.hpp"
#include "validate/report.hpp"

namespace hrm::validate {

struct WholeTensor {
  Reals values;            ///< of the logical shape
  std::int64_t step = -1;  ///< updates it has had; -1: not counted
};

/// By the paths of checkpoints ("/model/NAME", "/optimizer/exp_avg/NAME", "/optimizer/exp_avg_sq/NAME", "/ema/NAME")
/// and of gradients ("/gradient/NAME").
using WholeTensors = std::map<std::string, WholeTensor>;

/// Collective, exact: elements that no rank has are 0, those that several have are added.
WholeTensors gather(comm::Communicator& world, const std::vector<io::TensorPart>& parts);

/// Elements [first, first + values.size()) of the row's slice of GROUP/NAME, rounded to float32.
void read_slice(const GoldenFile& file, const std::string& group, const Parameter& row, std::int64_t first,
                std::span<float> values);

/// Allowed errors of the state after updates, relative to the largest element.
struct StateLimits {
  double weight = fp32_limits.value;  ///< also of the averages
  double first_moment = fp32_limits.value;
  double second_moment = fp32_limits.value;
  double weight_slack = 0;  ///< absolute, besides the relative limit
};

/// GROUP/{weights,exp_avg,exp_avg_sq,ema}/NAME and the attribute `updates` of the trainable rows of `table`.
/// `complete`: every row must be there; otherwise those that are. What `state` does not keep the file must not have.
void compare_state(const GoldenFile& file, const std::string& group, bool complete, const ParameterTable& table,
                   const WholeTensors& state, const StateLimits& limits, Report& report);

/// GROUP/NAME of the trainable rows; those without gradient must be marked so and be zero. has_gradient is by row.
void compare_gradients(const GoldenFile& file, const std::string& group, const ParameterTable& table,
                       const std::vector<bool>& has_gradient, const WholeTensors& gradients, double limit,
                       Report& report);

}  // namespace hrm::validate
