#pragma once
// A token drawn from every row of logits.
#include <cstdint>
#include <span>

#include "base/device.hpp"
#include "base/matrix.hpp"

namespace hrm::kernels {

/// Which tokens may be drawn, and how likely they are.
struct DrawRule {
  double temperature = 1;  ///< above 0
  std::int64_t top_k = 0;  ///< the tokens that weigh no less than the k-th; 0: all
  double top_p = 1;  ///< of these the most likely that together reach p of the weight, in (0, 1]; equal ones together
};

/// Steps of a weight: the largest one is so many.
inline constexpr int draw_bits = 40;

/// tokens[r] from row r of logits (rows, V). Token i weighs exp((logit i - largest logit) / temperature), in whole
/// steps of 2^-draw_bits; NaN weighs nothing. Of the tokens that the rule keeps, in order of their ids, it is the first
/// with which the sum of weights passes numbers[r], in [0, 1), of their total. Sums of whole numbers are the same in
/// any order. 0 where every logit is NaN. `weights` (rows V) is scratch.
void draw_rows(Stream, Matrix<const float> logits, const DrawRule& rule, std::span<const double> numbers,
               std::span<std::uint64_t> weights, std::span<std::int32_t> tokens);

/// In device memory.
namespace cuda {
void draw_rows(Stream, Matrix<const float> logits, const DrawRule& rule, std::span<const double> numbers,
               std::span<std::uint64_t> weights, std::span<std::int32_t> tokens);
}  // namespace cuda

}  // namespace hrm::kernels
