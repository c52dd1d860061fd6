#include "validate/whole_tensors.hpp"

#include <algorithm>
#include <cmath>

namespace hrm::validate {
namespace {

/// A kind of state: its folder in checkpoints and in golden files.
struct StateKind {
  const char* folder;
  const char* golden_folder;
  double StateLimits::*limit;
  bool slack;
};

constexpr StateKind state_kinds[] = {{"/model/", "/weights/", &StateLimits::weight, true},
                                     {"/optimizer/exp_avg/", "/exp_avg/", &StateLimits::first_moment, false},
                                     {"/optimizer/exp_avg_sq/", "/exp_avg_sq/", &StateLimits::second_moment, false},
                                     {"/ema/", "/ema/", &StateLimits::weight, true}};

void compare_row(const GoldenFile& file, const std::string& path, const Parameter& row, const WholeTensor& tensor,
                 double limit, double slack, Report& report) {
  const Reals expected = file.reals(path, row.slice.logical_shape);
  double largest = 0;
  for (const double value : expected) {
    largest = std::max(largest, std::abs(value));
  }
  report.reals(path.substr(1), tensor.values, expected, largest > 0 ? limit + slack / largest : limit + slack);
}

}  // namespace

WholeTensors gather(comm::Communicator& world, const std::vector<io::TensorPart>& parts) {
  WholeTensors whole;
  for (const io::TensorPart& part : parts) {
    WholeTensor& tensor = whole[part.path];
    tensor.step = part.step;
    tensor.values.resize(static_cast<std::size_t>(element_count(part.slice.logical_shape)));
    part.slice.for_each_run(part.first, part.count, [&](std::int64_t at, std::int64_t logical, std::int64_t length) {
      std::copy_n(part.data + (at - part.first), length, tensor.values.begin() + logical);
    });
    world.sum(std::span<double>(tensor.values));
  }
  return whole;
}

void read_slice(const GoldenFile& file, const std::string& group, const Parameter& row, std::int64_t first,
                std::span<float> values) {
  const Reals whole = file.reals(group + "/" + row.name, row.slice.logical_shape);
  row.slice.for_each_run(first, std::ssize(values), [&](std::int64_t at, std::int64_t logical, std::int64_t length) {
    std::transform(whole.begin() + logical, whole.begin() + logical + length, values.begin() + (at - first),
                   [](double value) { return static_cast<float>(value); });
  });
}

void compare_state(const GoldenFile& file, const std::string& group, bool complete, const ParameterTable& table,
                   const WholeTensors& state, const StateLimits& limits, Report& report) {
  for (const StateKind& kind : state_kinds) {
    for (const Parameter& row : table.rows) {
      const std::string path = group + kind.golden_folder + row.name;
      const auto tensor = state.find(kind.folder + row.name);
      const bool kept = tensor != state.end();
      if (!row.trainable || ((!complete || !kept) && !file.has(path))) {
        continue;
      }
      if (!kept) {
        file.refuse(path, "is of a state that the file's optimizer does not keep");
      }
      compare_row(file, path, row, tensor->second, limits.*kind.limit, kind.slack ? limits.weight_slack : 0, report);
    }
  }
  for (const Parameter& row : table.rows) {
    const std::string path = group + "/weights/" + row.name;
    if (row.trainable && file.has(path)) {
      report.count(path.substr(1) + "@updates", state.at("/optimizer/exp_avg_sq/" + row.name).step,
                   file.integer_attribute(path, "updates"));
    }
  }
}

void compare_gradients(const GoldenFile& file, const std::string& group, const ParameterTable& table,
                       const std::vector<bool>& has_gradient, const WholeTensors& gradients, double limit,
                       Report& report) {
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const Parameter& row = table.rows[i];
    if (!row.trainable) {
      continue;
    }
    const std::string path = group + "/" + row.name;
    report.count(path.substr(1) + "@has_grad", has_gradient[i] ? 1 : 0, file.flag_attribute(path, "has_grad") ? 1 : 0);
    report.reals(path.substr(1), gradients.at("/gradient/" + row.name).values,
                 file.reals(path, row.slice.logical_shape), limit);
  }
}

}  // namespace hrm::validate
