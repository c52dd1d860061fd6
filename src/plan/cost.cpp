#include "plan/cost.hpp"

#include <algorithm>
#include <numeric>

namespace hrm::plan {
namespace {

void add_linear(Cost& cost, std::int64_t rows, std::int64_t out, std::int64_t in, std::int64_t forward,
                std::int64_t backward) {
  cost.products.push_back({ProductKind::forward, rows, out, in, forward});
  cost.products.push_back({ProductKind::backward_input, rows, out, in, backward});
  cost.products.push_back({ProductKind::backward_weight, rows, out, in, backward});
}

}  // namespace

double visible_pairs(std::int64_t prefix, std::int64_t causal, bool prefixlm) {
  const auto p = static_cast<double>(prefix);
  const auto c = static_cast<double>(causal);
  const double among_prefix = prefixlm ? p * p : p * (p + 1) / 2;
  return among_prefix + c * p + c * (c + 1) / 2;
}

double Cost::product_flops() const {
  return std::accumulate(products.begin(), products.end(), 0.0,
                         [](double sum, const Product& product) { return sum + product.flops(); });
}

Cost cost(const config::ModelConfig& config, model::Horizon horizon, const PackStats& pack) {
  const std::vector<model::Step> steps = model::unroll(config, horizon);
  const auto calls = static_cast<std::int64_t>(steps.size());
  const auto on = std::count_if(steps.begin(), steps.end(), [](const model::Step& step) { return step.on; });
  const std::int64_t forward = calls * config.stack_layers();
  const std::int64_t backward = on * config.stack_layers();
  const std::int64_t width = config.hidden_size;
  Cost result;
  add_linear(result, pack.slots, 4 * width, width, forward, backward);
  add_linear(result, pack.slots, width, width, forward, backward);
  add_linear(result, pack.slots, 2 * config.intermediate_size, width, forward, backward);
  add_linear(result, pack.slots, width, config.intermediate_size, forward, backward);
  add_linear(result, pack.supervised, config.vocab_size, width, 1, 1);
  result.attention_flops =
      static_cast<double>(4 * forward + 8 * backward) * static_cast<double>(width) * pack.visible_pairs;
  return result;
}

}  // namespace hrm::plan
