#pragma once
// Kernels and launches that are wrong on purpose: what the shim must find. nvcc compiles them too; never run them on a
// GPU.
#include "base/device.hpp"

namespace hrm::test {

enum class Fault {
  barrier_in_part_of_block,
  barrier_in_place_of_shuffle,
  two_barriers,
  shuffle_of_ended_lane,
  shuffle_from_outside_the_mask,
  shuffle_of_lane_outside_the_mask,
  two_shuffles,
  too_many_threads,
  no_threads,
  too_many_blocks,
  too_much_dynamic_shared,
  too_much_shared,
  copy_to_unaligned_shared,
  copy_from_unaligned_global,
  copy_to_global,
  matrix_from_unaligned_shared,
  // Found by numbers or by ThreadSanitizer.
  missing_barrier,                   ///< y[t] = x[127 - t]
  missing_barrier_that_order_hides,  ///< y[t] = x[max(t - 1, 0)]
  missing_copy_wait,                 ///< y = x
  weak_copy_wait,                    ///< y = x
  missing_warp_barrier,              ///< y[0, 32) = sum of x[0, 32)
  shuffle_as_barrier,                ///< y = 0
  // Found by AddressSanitizer and UndefinedBehaviorSanitizer.
  beyond_static_shared,
  beyond_dynamic_shared,
  beyond_global,
  unaligned_vector,
};

/// Runs the kernel with 128 threads unless the fault is in that. x (128), y (128).
void run_faulty(Stream stream, Fault fault, const float* x, float* y);

/// Like reverse_pieces, but a buffer is filled again while some threads may still read it.
void reverse_pieces_without_second_barrier(Stream stream, const float* x, int pieces, float* y);

}  // namespace hrm::test
