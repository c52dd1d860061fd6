#include <dnnl_version.h>
#include <fmt/core.h>

#include "app/command_table.hpp"
#include "base/version.hpp"
#include "comm/gpu_libraries.hpp"
#include "comm/mpi_session.hpp"
#include "io/hdf5.hpp"
#include "kernels/gpu.hpp"
#include "kernels/matmul.hpp"

namespace hrm::app {

namespace {

/// "cpu", "cpu, cuda (2 devices)".
std::string back_ends() {
  return kernels::gpu_products() == "none" ? "cpu" : fmt::format("cpu, cuda ({} devices)", kernels::gpu_count());
}

}  // namespace

std::string version_text() {
  std::string text = fmt::format("hrm {}\n", program_version());
  const auto line = [&](const char* name, const std::string& value) {
    text += fmt::format("  {:<14} {}\n", name, value);
  };
  const auto library = [&](const char* name, const std::string& built, const std::string& running) {
    line(name, fmt::format("built with {}, running {}", built, running));
  };
  line("git revision", git_revision());
  line("build type", build_type());
  line("back ends", back_ends());
  line("instructions", kernels::instruction_set() + (kernels::native_bf16() ? ", native bf16" : ", no native bf16"));
  library("MPI", comm::mpi_headers(), comm::mpi_library());
  library("HDF5", fmt::format("HDF5 {}.{}.{}", H5_VERS_MAJOR, H5_VERS_MINOR, H5_VERS_RELEASE),
          "HDF5 " + io::h5::library_version());
  library("oneDNN", fmt::format("oneDNN {}.{}.{}", DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, DNNL_VERSION_PATCH),
          kernels::matmul_library());
  line("CUDA products", kernels::gpu_products());
  line("CUDA", comm::cuda_libraries());
  line("NCCL", comm::nccl_libraries());
  return text;
}

}  // namespace hrm::app
