#pragma once
// Choice of the device. A public function that has a CUDA twin starts with HRM_CUDA_DISPATCH(stream, NAME(…)), which on
// a CUDA stream returns cuda::NAME(…): all that follows is for the host. A program without CUDA has no such streams.
#include "base/device.hpp"

#ifdef HRM_HAVE_CUDA
#define HRM_CUDA_DISPATCH(stream, ...)              \
  if ((stream).device == ::hrm::DeviceType::cuda) { \
    return cuda::__VA_ARGS__;                       \
  }                                                 \
  static_assert(true)
#else
#define HRM_CUDA_DISPATCH(stream, ...) static_cast<void>(stream)
#endif
