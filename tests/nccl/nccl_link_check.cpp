// The NCCL communicator with the real libraries. Where there is a GPU one rank exchanges with itself; where there is
// none the program starts all the same, without a driver, and its error is a lost peer in CUDA's words.
#include <cuda_runtime.h>

#include <array>
#include <cstdio>

#include "base/error.hpp"
#include "comm/gpu_libraries.hpp"
#include "comm/nccl_communicator.hpp"

namespace {

using namespace hrm;
using namespace hrm::comm;

bool says_what_is_missing() {
  try {
    nccl_communicator(serial_communicator(), 30);
  } catch (const InputError& error) {
    std::printf("no GPU: %s\n", error.what());
    return error.code() == ExitCode::lost_peer && std::string(error.what()).find("CUDA") != std::string::npos;
  }
  return false;
}

bool exchanges_with_itself() {
  const std::array<unsigned char, 5> sent{1, 2, 3, 4, 5};
  std::array<unsigned char, 5> got{};
  void* memory = nullptr;
  if (cudaMalloc(&memory, 2 * sent.size()) != cudaSuccess) {
    return false;
  }
  auto* bytes = static_cast<std::byte*>(memory);
  cudaMemcpy(bytes, sent.data(), sent.size(), cudaMemcpyHostToDevice);
  {
    const auto group = nccl_communicator(serial_communicator(), 30);
    const Send send{0, {bytes, sent.size()}};
    const Receive receive{0, {bytes + sent.size(), sent.size()}};
    group->start_exchange({&send, 1}, {&receive, 1});
    group->finish_exchange();
  }
  cudaMemcpy(got.data(), bytes + sent.size(), got.size(), cudaMemcpyDeviceToHost);
  cudaFree(memory);
  return got == sent;
}

}  // namespace

int main() {
  int devices = 0;
  const bool device = cudaGetDeviceCount(&devices) == cudaSuccess && devices > 0;
  std::printf("%s; %s; %d devices\n", cuda_libraries().c_str(), nccl_libraries().c_str(), devices);
  const bool named = nccl_libraries().starts_with("built with NCCL") && cuda_libraries().starts_with("built with CUDA");
  return named && (device ? exchanges_with_itself() : says_what_is_missing()) ? 0 : 1;
}
