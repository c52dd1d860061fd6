#pragma once
// A model is a recurrence program: which stack runs, what it reads, and whether the step keeps gradient (golden A.9,
// A.10). One forward and one backward interpreter serve every architecture.
#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.hpp"

namespace hrm::model {

/// Value numbers of a program: 0 is the scaled embedding x, 1 the constant zL_init, 2 + k the output of step k.
using Value = int;
inline constexpr Value value_x = 0;
inline constexpr Value value_zl_init = 1;
inline constexpr Value no_value = -1;
inline constexpr Value value_of_step(int step) {
  return 2 + step;
}

/// output = stack(first + second); `second` may be absent.
struct Step {
  int stack;  ///< index into stack_names(config)
  Value first;
  Value second;
  bool on;           ///< differentiated
  std::string name;  ///< as golden files trace it: "L_3", "H_0", "T_0"
};

/// How far gradients go back. hrm: `steps` = bp_steps, split by rule; the other architectures take theirs from the
/// configuration and ignore it.
struct Horizon {
  std::int64_t steps = 0;
};

/// H and L calls with gradient for hrm: h = min(H_cycles, bp_steps - 1), l = bp_steps - h (A.10).
struct BackwardSplit {
  std::int64_t h;
  std::int64_t l;
};
BackwardSplit split_backward_steps(std::int64_t h_cycles, std::int64_t bp_steps);

/// The steps of one forward pass in order; the last one's output is z.
std::vector<Step> unroll(const config::ModelConfig& config, Horizon horizon);

/// Every horizon that training of this configuration can ask for, deepest last: bp_min_steps … bp_max_steps for hrm,
/// one entry otherwise.
std::vector<Horizon> horizons(const config::ModelConfig& config);

/// Whether a value can carry gradient: x always, zL_init never, a step's output iff the step is on.
bool differentiable(const std::vector<Step>& steps, Value value);

/// Whether x (and so embed_tokens) gets any gradient (A.10, last paragraph).
bool reaches_embedding(const std::vector<Step>& steps);

}  // namespace hrm::model
