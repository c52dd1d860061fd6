#pragma once
// Results of the CUDA runtime, for .cu and .cpp files alike.
#ifdef HRM_SIMT
#include "simt/simt.hpp"
#else
#include <cuda_runtime.h>
#endif

namespace hrm::kernels::cuda {

/// Throws InternalError with CUDA's own words. (base/error.hpp is not for .cu files: nvcc cannot read fmt's consteval.)
[[noreturn]] void fail(cudaError_t code, const char* what);
inline void check(cudaError_t code, const char* what) {
  if (code != cudaSuccess) {
    fail(code, what);
  }
}

}  // namespace hrm::kernels::cuda
