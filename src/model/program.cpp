#include "model/program.hpp"

#include <algorithm>

namespace hrm::model {
namespace {

std::vector<Value> operands(const Step& step) {
  return step.second == no_value ? std::vector<Value>{step.first} : std::vector<Value>{step.first, step.second};
}

/// Slots of a pool, each held by at most one value at a time.
class SlotPool {
 public:
  int take() {
    if (free_.empty()) {
      return size_++;
    }
    const int slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give_back(int slot) { free_.push_back(slot); }
  int size() const { return size_; }

 private:
  std::vector<int> free_;
  int size_ = 0;
};

/// By value: the index of the last step that reads it, or the number of steps where it is needed to the end.
std::vector<int> last_uses(const std::vector<Step>& steps, bool recompute) {
  const int end = static_cast<int>(steps.size());
  std::vector<int> last(steps.size() + 2, -1);
  for (int k = 0; k < end; ++k) {
    const Step& step = steps[static_cast<std::size_t>(k)];
    for (const Value value : operands(step)) {
      int& use = last[static_cast<std::size_t>(value)];
      use = std::max(use, recompute && step.on ? end : k);
    }
    if (step.on) {
      last[static_cast<std::size_t>(value_of_step(k))] = end;
    }
  }
  last.back() = end;
  return last;
}

void place_values(Program& program, bool recompute) {
  const std::vector<int> last = last_uses(program.steps, recompute);
  SlotPool pool;
  program.value_slot.assign(program.steps.size() + 2, -1);
  program.value_slot[value_x] = pool.take();
  for (int k = 0; k < static_cast<int>(program.steps.size()); ++k) {
    program.value_slot[static_cast<std::size_t>(value_of_step(k))] = pool.take();
    for (const Value value : operands(program.steps[static_cast<std::size_t>(k)])) {
      const auto index = static_cast<std::size_t>(value);
      if (value != value_zl_init && last[index] == k) {
        pool.give_back(program.value_slot[index]);
      }
    }
  }
  program.value_slots = pool.size();
}

void number_records(Program& program) {
  for (const Step& step : program.steps) {
    program.record.push_back(step.on ? program.records++ : -1);
  }
}

bool used_earlier(const std::vector<Step>& steps, int k) {
  const auto& step = steps[static_cast<std::size_t>(k)];
  return std::any_of(steps.begin(), steps.begin() + k,
                     [&](const Step& other) { return other.on && other.stack == step.stack; });
}

void plan_backward(Program& program) {
  SlotPool pool;
  std::vector<int> slot_of(program.steps.size() + 2, -1);
  slot_of.back() = pool.take();
  for (int k = static_cast<int>(program.steps.size()) - 1; k >= 0; --k) {
    const int slot = slot_of[static_cast<std::size_t>(value_of_step(k))];
    if (slot < 0) {
      continue;
    }
    const Step& step = program.steps[static_cast<std::size_t>(k)];
    BackwardStep plan{k, slot, {}, {}, !used_earlier(program.steps, k)};
    bool taken_over = false;
    for (const Value value : operands(step)) {
      int& target = slot_of[static_cast<std::size_t>(value)];
      if (!differentiable(program.steps, value)) {
        continue;
      }
      if (target >= 0) {
        plan.add_to.push_back(target);
      } else if (!taken_over) {
        target = slot;
        taken_over = true;
      } else {
        target = pool.take();
        plan.copy_to.push_back(target);
      }
    }
    if (!taken_over) {
      pool.give_back(slot);
    }
    program.backward.push_back(plan);
  }
  program.embedding_gradient_slot = slot_of[value_x];
  program.gradient_slots = pool.size();
}

}  // namespace

Program make_program(const config::ModelConfig& config, Horizon horizon, bool recompute) {
  Program program;
  program.steps = unroll(config, horizon);
  place_values(program, recompute);
  number_records(program);
  plan_backward(program);
  return program;
}

}  // namespace hrm::model
