#pragma once
// A recurrence program with the buffers its values and gradients live in, planned once per horizon.
#include <cstdint>
#include <vector>

#include "model/unroll.hpp"

namespace hrm::model {

/// Backward pass of one step: the gradient of its output lies in `slot` and becomes that of its input in place; then it
/// is added to the slots `add_to`, copied to the slots `copy_to`, and stays where it is for the operand that takes it
/// over.
struct BackwardStep {
  int step;
  int slot;
  std::vector<int> add_to;
  std::vector<int> copy_to;
  bool last_use_of_stack;  ///< the earliest differentiated use: the stack's weight gradients are final after it
};

/// Steps, and for each value the slot of a pool that holds it. Outputs of differentiated steps keep their slot to the
/// end (the backward pass reads them), with recomputation their operands too; other values give theirs back after their
/// last use. The gradient of z starts in gradient slot 0.
struct Program {
  std::vector<Step> steps;
  std::vector<int> value_slot;  ///< by value; -1 for zL_init, which is a constant row
  std::vector<int> record;      ///< by step: index of its stack record, -1 for steps without gradient
  std::vector<BackwardStep> backward;
  int embedding_gradient_slot = -1;  ///< where the gradient of x ends up; -1: x gets none
  int value_slots = 0;
  int records = 0;
  int gradient_slots = 0;

  Value output() const { return value_of_step(static_cast<int>(steps.size()) - 1); }
};

Program make_program(const config::ModelConfig& config, Horizon horizon, bool recompute);

}  // namespace hrm::model
