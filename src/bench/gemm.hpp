#pragma once
// Speed of the matrix products themselves, through the functions that the network calls.
#include <cstdint>

#include "base/device.hpp"

namespace hrm::bench {

enum class GemmKind { forward, backward_input, backward_weight };

struct GemmRate {
  std::int64_t repetitions = 0;
  double flops = 0;             ///< of one product: 2 rows out in
  double flops_per_second = 0;  ///< at the median time, what a step can expect
  double best_per_second = 0;   ///< at the shortest time
};

/// Repeats one product of `rows` rows with a weight [out, in] for about `seconds` (three times at least) with the
/// OpenMP threads of the caller. Weights are loaded beforehand: a step loads them once and uses them several times.
GemmRate measure_gemm(Precision precision, GemmKind kind, std::int64_t rows, std::int64_t out, std::int64_t in,
                      double seconds);

}  // namespace hrm::bench
