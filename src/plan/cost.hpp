#pragma once
// What one pack costs: the matrix products of a forward and backward pass with their shapes, and attention. A product
// of [M, in] with [out, in] counts 2 M in out floating-point operations.
#include <cstdint>
#include <vector>

#include "config/run_config.hpp"
#include "model/unroll.hpp"

namespace hrm::plan {

enum class ProductKind { forward, backward_input, backward_weight };

/// `count` products of one shape and kind.
struct Product {
  ProductKind kind;
  std::int64_t rows;  ///< M
  std::int64_t out;
  std::int64_t in;
  std::int64_t count;
  double flops() const { return 2.0 * static_cast<double>(rows * out * in * count); }
};

/// What the cost of a pack depends on.
struct PackStats {
  std::int64_t slots = 0;
  std::int64_t supervised = 0;
  double visible_pairs = 0;  ///< (query, key) pairs that the mask lets through, all sequences
};

/// Pairs of one sequence with `prefix` instruction tokens and `causal` others (golden A.6).
double visible_pairs(std::int64_t prefix, std::int64_t causal, bool prefixlm);

struct Cost {
  std::vector<Product> products;
  double attention_flops = 0;  ///< 4 D per pair forward, 8 D backward
  double product_flops() const;
  double total_flops() const { return product_flops() + attention_flops; }
};

/// Model FLOPs of one pack: every stack call forward, the differentiated ones backward too, the head on supervised
/// rows. Recomputation is not counted. `config` is complete.
Cost cost(const config::ModelConfig& config, model::Horizon horizon, const PackStats& pack);

}  // namespace hrm::plan
