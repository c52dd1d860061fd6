#include "kernels/gpu.hpp"

#include "base/error.hpp"

#ifdef HRM_HAVE_CUDA
#ifndef HRM_SIMT
#include <nvtx3/nvToolsExt.h>
#endif

#include <cstring>
#include <vector>

#include "kernels/cuda_check.hpp"
#include "kernels/gemm_cuda.hpp"
#endif

namespace hrm::kernels {

#ifdef HRM_HAVE_CUDA
namespace cuda {

void fail(cudaError_t code, const char* what) {
  throw InternalError(fmt::format("{}: {} ({})", what, cudaGetErrorString(code), cudaGetErrorName(code)));
}

namespace {

cudaStream_t native(Stream stream) {
  return static_cast<cudaStream_t>(stream.native);
}
cudaEvent_t native(Event event) {
  return static_cast<cudaEvent_t>(event.native);
}

class DeviceMemory final : public Memory {
 public:
  void* allocate(std::size_t bytes) override {
    void* data = nullptr;
    if (cudaMalloc(&data, bytes) != cudaSuccess) {
      cudaGetLastError();
      return nullptr;
    }
    check(cudaMemset(data, 0, bytes), "cudaMemset");
    // The call returns before the zeros are there, and the streams of this device do not wait for the default one.
    check(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
    return data;
  }
  void release(void* data, std::size_t) noexcept override { cudaFree(data); }
};

class PinnedMemory final : public Memory {
 public:
  void* allocate(std::size_t bytes) override {
    void* data = nullptr;
    if (cudaMallocHost(&data, bytes) != cudaSuccess) {
      cudaGetLastError();
      return nullptr;
    }
    std::memset(data, 0, bytes);
    return data;
  }
  void release(void* data, std::size_t) noexcept override { cudaFreeHost(data); }
};

class Gpu final : public Device {
 public:
  explicit Gpu(int index) {
    check(cudaSetDevice(index), "cudaSetDevice");
    check(cudaGetDeviceProperties(&properties_, index), "cudaGetDeviceProperties");
    int least = 0;
    int greatest = 0;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
    check(cudaStreamCreateWithPriority(&compute_, cudaStreamNonBlocking, least), "cudaStreamCreateWithPriority");
    check(cudaStreamCreateWithPriority(&exchange_, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
  }
  ~Gpu() override {
    release_gemm();
    for (const cudaEvent_t event : events_) {
      cudaEventDestroy(event);
    }
    cudaStreamDestroy(exchange_);
    cudaStreamDestroy(compute_);
  }
  Gpu(const Gpu&) = delete;
  Gpu& operator=(const Gpu&) = delete;

  DeviceType type() const override { return DeviceType::cuda; }
  std::string name() const override {
    return fmt::format("{} (sm_{}{})", properties_.name, properties_.major, properties_.minor);
  }
  Memory& memory() override { return memory_; }
  Memory& staging() override { return staging_; }
  Stream compute() override { return {DeviceType::cuda, compute_}; }
  Stream exchange() override { return {DeviceType::cuda, exchange_}; }

  void copy(Stream stream, void* to, const void* from, std::size_t bytes) override {
    if (bytes > 0) {
      check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, native(stream)), "cudaMemcpyAsync");
    }
  }
  void wait(Stream stream) override { check(cudaStreamSynchronize(native(stream)), "cudaStreamSynchronize"); }

  Event make_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    events_.push_back(event);
    return {event};
  }
  void record(Event event, Stream stream) override {
    check(cudaEventRecord(native(event), native(stream)), "cudaEventRecord");
  }
  void hold(Stream stream, Event event) override {
    check(cudaStreamWaitEvent(native(stream), native(event), 0), "cudaStreamWaitEvent");
  }
  bool reached(Event event) override {
    const cudaError_t code = cudaEventQuery(native(event));
    if (code == cudaErrorNotReady) {
      return false;
    }
    check(code, "cudaEventQuery");
    return true;
  }
  double seconds(Event from, Event to) override {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, native(from), native(to)), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) / 1000;
  }

#ifdef HRM_SIMT
  void begin_range(const char*) override {}
  void end_range() override {}
#else
  void begin_range(const char* name) override {
    nvtxRangePushA(name);
  }
  void end_range() override {
    nvtxRangePop();
  }
#endif

 private:
  cudaDeviceProp properties_{};
  cudaStream_t compute_ = nullptr;
  cudaStream_t exchange_ = nullptr;
  std::vector<cudaEvent_t> events_;
  DeviceMemory memory_;
  PinnedMemory staging_;
};

}  // namespace
}  // namespace cuda

int gpu_count() {
  int count = 0;
  // Without a driver the call fails and leaves the count as it was.
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

std::unique_ptr<Device> make_gpu(int index) {
  const int count = gpu_count();
  if (index < 0 || index >= count) {
    fail(ExitCode::bad_config,
         "CUDA device {} of {} visible ones does not exist; check nvidia-smi and CUDA_VISIBLE_DEVICES, or set "
         "device.type = cpu",
         index, count);
  }
  return std::make_unique<cuda::Gpu>(index);
}

std::string gpu_products() {
  return cuda::gemm_library();
}

std::string gpu_product_choices() {
  return cuda::gemm_choices();
}

void adopt_gpu_product_choices(const std::string& choices) {
  cuda::adopt_gemm_choices(choices);
}

bool gpu_memory_is_host_memory() {
#ifdef HRM_SIMT
  return true;
#else
  return false;
#endif
}
#else
int gpu_count() {
  return 0;
}

std::unique_ptr<Device> make_gpu(int) {
  fail(ExitCode::bad_config, "this build has no CUDA back end; set device.type = cpu, or build with HRM_CUDA=ON");
}

std::string gpu_products() {
  return "none";
}

std::string gpu_product_choices() {
  return {};
}

void adopt_gpu_product_choices(const std::string&) {}

bool gpu_memory_is_host_memory() {
  return false;
}
#endif

}  // namespace hrm::kernels
