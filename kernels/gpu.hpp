#pragma once
// CUDA devices as hrm::Device. A build without CUDA has none.
#include <memory>
#include <string>

#include "base/device.hpp"

namespace hrm::kernels {

/// Devices that this process may use; 0 without a driver, and in a build without CUDA.
int gpu_count();

/// Device `index` of them, the process's from now on: call it before anything else touches CUDA. InputError(bad_config)
/// where there is none.
std::unique_ptr<Device> make_gpu(int index);

/// Library of matrix products and its version, "cuBLASLt 13.0.2"; "none" in a build without CUDA.
std::string gpu_products();

/// The algorithms of matrix products that this process has chosen so far, and their adoption by another: one rank
/// chooses for all, so that the same product has the same bits everywhere. Empty in a build without CUDA.
std::string gpu_product_choices();
void adopt_gpu_product_choices(const std::string& choices);

/// Whether MPI may move this device's memory by itself: on real devices bulk data travel through NCCL.
bool gpu_memory_is_host_memory();

}  // namespace hrm::kernels
