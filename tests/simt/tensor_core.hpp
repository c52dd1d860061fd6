#pragma once
// Asynchronous copies and tensor-core instructions, as kernels/cuda_device.hpp declares them.
#include <cstdint>

#include "base/bf16.hpp"
#include "simt/multiprocessor.hpp"

namespace hrm::kernels::cuda {

inline void copy_async_16(void* shared, const void* global, bool valid = true) {
  simt::multiprocessor_now->shared.check_16(shared, "copy_async_16");
  if (valid && reinterpret_cast<std::uintptr_t>(global) % 16 != 0) {
    simt::kernel_error("copy_async_16: the address in global memory is not aligned to 16");
  }
  simt::thread_now->copies.issue(shared, global, valid);
}
inline void copy_async_commit() {
  simt::thread_now->copies.commit();
}
template <int pending>
void copy_async_wait() {
  static_assert(pending >= 0);
  simt::thread_now->copies.wait(pending);
}

/// For CUDA's ldmatrix: register i of each lane from the rows that lanes 8 i to 8 i + 7 brought.
void load_matrix(std::uint32_t (&out)[4], const void* shared_row, bool transposed, const simt::Call& call);

inline void load_matrix_x4(std::uint32_t (&out)[4], const void* shared_row,
                           simt::Where where = simt::Where::current()) {
  load_matrix(out, shared_row, false, {"load_matrix_x4", where, 0xffffffffU});
}
inline void load_matrix_x4_transposed(std::uint32_t (&out)[4], const void* shared_row,
                                      simt::Where where = simt::Where::current()) {
  load_matrix(out, shared_row, true, {"load_matrix_x4_transposed", where, 0xffffffffU});
}

/// The products of bf16 numbers are exact in float32; they are summed one after the other in order of k.
void multiply_add_16x8x16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                          simt::Where where = simt::Where::current());

/// 2^x; subnormal arguments and results count as zero.
float fast_exp2(float x);

}  // namespace hrm::kernels::cuda
