#include "comm/gpu_libraries.hpp"

#ifdef HRM_HAVE_NCCL
#include <nccl.h>

#include "base/error.hpp"
#include "comm/nccl_check.hpp"
#endif

namespace hrm::comm {

#ifdef HRM_HAVE_NCCL
std::string cuda_libraries() {
  const auto name = [](int version) { return fmt::format("CUDA {}.{}", version / 1000, version % 1000 / 10); };
  int running = 0;
  cuda_check(cudaRuntimeGetVersion(&running), "cudaRuntimeGetVersion");
  return fmt::format("built with {}, running {}", name(CUDART_VERSION), name(running));
}

std::string nccl_libraries() {
  // The coding from NCCL 2.9 on.
  const auto name = [](int version) {
    return fmt::format("NCCL {}.{}.{}", version / 10000, version % 10000 / 100, version % 100);
  };
  int running = 0;
  nccl_check(ncclGetVersion(&running), "ncclGetVersion");
  return fmt::format("built with {}, running {}", name(NCCL_VERSION_CODE), name(running));
}
#else
std::string cuda_libraries() {
  return "none";
}
std::string nccl_libraries() {
  return "none";
}
#endif

}  // namespace hrm::comm
