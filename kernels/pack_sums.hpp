#pragma once
// Numerators and denominators of one pack's metrics (golden B.2).
#include <cstdint>
#include <span>

#include "base/device.hpp"

namespace hrm::kernels {

struct PackSums {
  double loss_sum = 0;
  std::int64_t tokens = 0;     ///< valid labels
  std::int64_t correct = 0;    ///< of them, predicted
  std::int64_t exact = 0;      ///< sequences with all valid labels predicted
  std::int64_t sequences = 0;  ///< sequences with at least one valid label
};

/// *sums of supervised rows, all spans (rows): a row's loss, prediction, label and number of its sequence; rows of one
/// sequence are neighbours. loss_sum in double, in an order fixed by the number of rows.
void pack_sums(Stream, std::span<const float> loss, std::span<const std::int32_t> argmax,
               std::span<const std::int32_t> labels, std::span<const std::int32_t> sequence, PackSums* sums);

/// In device memory, *sums too.
namespace cuda {
void pack_sums(Stream, std::span<const float> loss, std::span<const std::int32_t> argmax,
               std::span<const std::int32_t> labels, std::span<const std::int32_t> sequence, PackSums* sums);
}  // namespace cuda

}  // namespace hrm::kernels
