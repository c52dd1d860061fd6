#pragma once
// Choice of the back end: the first line of every public operation, HRM_CUDA_DISPATCH(stream, rmsnorm_forward<T>(…)),
// returns what the operation of that name in namespace cuda does where the stream is a CUDA one. A build without CUDA
// has no such streams.
#include "base/device.hpp"

#ifdef HRM_HAVE_CUDA
#define HRM_CUDA_DISPATCH(stream, ...)        \
  if ((stream).device == DeviceType::cuda) {  \
    return ::hrm::kernels::cuda::__VA_ARGS__; \
  }
#else
#define HRM_CUDA_DISPATCH(stream, ...) static_cast<void>(stream)
#endif
