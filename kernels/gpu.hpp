#pragma once
// CUDA devices as hrm::Device. A build without CUDA has none.
#include <memory>

#include "base/device.hpp"

namespace hrm::kernels {

/// Devices that this process may use; 0 without a driver, and in a build without CUDA.
int gpu_count();

/// Device `index` of them, the process's from now on: call it before anything else touches CUDA. InputError(bad_config)
/// where there is none.
std::unique_ptr<Device> make_gpu(int index);

/// Whether MPI may move this device's memory by itself: on real devices bulk data travel through NCCL.
bool gpu_memory_is_host_memory();

}  // namespace hrm::kernels
