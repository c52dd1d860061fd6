#include <string>

#include "base/error.hpp"
#include "simt/launch.hpp"

namespace hrm::kernels::cuda {

void fail(cudaError_t code, const char* what) {
  throw InternalError(std::string(what) + " failed: " + cudaGetErrorString(code));
}

}  // namespace hrm::kernels::cuda
