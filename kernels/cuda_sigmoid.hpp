#pragma once
#include "kernels/cuda_device.hpp"

namespace hrm::kernels::cuda {

/// 1 / (1 + e^-x), absolute error below 2^-22; 0 and 1 at the ends.
__device__ __forceinline__ float sigmoid(float x) {
  return 1.0F / (1.0F + fast_exp2(x * -1.44269504F));
}

}  // namespace hrm::kernels::cuda
