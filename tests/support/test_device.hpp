#pragma once
#include <memory>

#include "base/device.hpp"
#include "kernels/gpu.hpp"

namespace hrm::test {

/// What a test's models compute on: the processor, or with HRM_TEST_CUDA the first CUDA device.
inline Device& test_device() {
#ifdef HRM_TEST_CUDA
  static const std::unique_ptr<Device> device = kernels::make_gpu(0);
  return *device;
#else
  return host_device();
#endif
}

}  // namespace hrm::test
