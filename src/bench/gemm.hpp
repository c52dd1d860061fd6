#pragma once
// Speed of matrix products, through the functions that the network calls, and of memory.
#include <cstdint>

#include "base/device.hpp"

namespace hrm::bench {

enum class GemmKind { forward, backward_input, backward_weight };

/// Of work that moves or computes `amount` bytes or FLOPs each time.
struct Rate {
  std::int64_t repetitions = 0;
  double amount = 0;
  double per_second = 0;       ///< at the median time, what a step can expect
  double best_per_second = 0;  ///< at the shortest time
};

/// Repeats one product of `rows` rows with a weight [out, in], 2 rows out in FLOPs, for about `seconds` (three times at
/// least): on the host with the OpenMP threads of the caller, on a device by its own clock and so many products at a
/// time that the host's calls do not show. Weights are loaded beforehand: a step loads them once and uses them several
/// times.
Rate measure_gemm(Precision precision, GemmKind kind, std::int64_t rows, std::int64_t out, std::int64_t in,
                  double seconds, Device& device = host_device());

/// The same for kernels::copy of `bytes` (a multiple of 4096) inside the device's memory; each byte is read and written
/// and so counts twice.
Rate measure_copy(std::int64_t bytes, double seconds, Device& device = host_device());

}  // namespace hrm::bench
