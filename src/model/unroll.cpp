#include "model/unroll.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace hrm::model {
namespace {

using config::ModelConfig;

/// Appends steps and numbers them as golden files do.
class Program {
 public:
  Value append(int stack, const std::string& letter, int number, Value first, Value second, bool on) {
    steps_.push_back({stack, first, second, on, letter + "_" + std::to_string(number)});
    return value_of_step(static_cast<int>(steps_.size()) - 1);
  }
  std::vector<Step> take() { return std::move(steps_); }

 private:
  std::vector<Step> steps_;
};

/// hrm, and trm when both stacks are one: zL = L(zL + zH) l_cycles times, then zH = H(zH + zL), h_cycles times.
std::vector<Step> hierarchical(const ModelConfig& config, BackwardSplit backward, int high_stack, int low_stack) {
  Program program;
  Value high = value_x;
  Value low = value_zl_init;
  const std::int64_t low_calls = config.h_cycles * config.l_cycles;
  for (std::int64_t i = 0; i < config.h_cycles; ++i) {
    for (std::int64_t j = 0; j < config.l_cycles; ++j) {
      const std::int64_t k = i * config.l_cycles + j;
      low = program.append(low_stack, "L", static_cast<int>(k), low, high, k >= low_calls - backward.l);
    }
    high = program.append(high_stack, "H", static_cast<int>(i), high, low, i >= config.h_cycles - backward.h);
  }
  return program.take();
}

std::vector<Step> universal(const ModelConfig& config) {
  Program program;
  Value z = value_zl_init;
  for (std::int64_t c = 0; c < config.cycles; ++c) {
    z = program.append(0, "L", static_cast<int>(c), z, value_x, c >= config.cycles - config.bp_cycles);
  }
  return program.take();
}

std::vector<Step> rins(const ModelConfig& config) {
  Program program;
  Value low = value_zl_init;
  for (std::int64_t c = 0; c < config.l_cycles; ++c) {
    low = program.append(1, "L", static_cast<int>(c), low, value_x, c >= config.l_cycles - config.l_bp_cycles);
  }
  program.append(0, "H", 0, low, no_value, true);
  return program.take();
}

}  // namespace

BackwardSplit split_backward_steps(std::int64_t h_cycles, std::int64_t bp_steps) {
  const std::int64_t h = std::min(h_cycles, bp_steps - 1);
  return {h, bp_steps - h};
}

std::vector<Step> unroll(const ModelConfig& config, Horizon horizon) {
  if (config.architecture == "hrm") {
    return hierarchical(config, split_backward_steps(config.h_cycles, horizon.steps), 0, 1);
  }
  if (config.architecture == "trm") {
    return hierarchical(config, {config.h_bp_steps, config.l_bp_steps}, 0, 0);
  }
  if (config.architecture == "ut") {
    return universal(config);
  }
  if (config.architecture == "rins") {
    return rins(config);
  }
  ensure(config.architecture == "transformer", "unknown architecture reached unroll");
  Program program;
  program.append(0, "T", 0, value_x, no_value, true);
  return program.take();
}

std::vector<Horizon> horizons(const ModelConfig& config) {
  if (config.architecture != "hrm") {
    return {Horizon{0}};
  }
  std::vector<Horizon> all;
  for (std::int64_t steps = config.bp_min_steps; steps <= config.bp_max_steps; ++steps) {
    all.push_back({steps});
  }
  return all;
}

bool differentiable(const std::vector<Step>& steps, Value value) {
  return value == value_x || (value >= 2 && steps[static_cast<std::size_t>(value - 2)].on);
}

bool reaches_embedding(const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(),
                     [](const Step& step) { return step.on && (step.first == value_x || step.second == value_x); });
}

}  // namespace hrm::model
