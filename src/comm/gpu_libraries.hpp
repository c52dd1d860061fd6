#pragma once
#include <string>

namespace hrm::comm {

/// "built with CUDA 13.0, running CUDA 13.0", "none" in a program built without; neither needs a driver.
std::string cuda_libraries();
std::string nccl_libraries();

}  // namespace hrm::comm
