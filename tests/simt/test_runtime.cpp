// The fake of the CUDA runtime: memory, copies, streams, events, counts.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "simt/control.hpp"
#include "simt/sample_kernels.hpp"

namespace hrm::test {
namespace {

class Runtime : public testing::Test {
 protected:
  Runtime() {
    simt::counts() = {};
    cudaStreamCreate(&stream_);
    cudaMalloc(&memory_, 256 * sizeof(float));
  }
  ~Runtime() override {
    cudaFree(memory_);
    cudaStreamDestroy(stream_);
    simt::settings() = kept_;
  }

  cudaStream_t stream_ = nullptr;
  float* memory_ = nullptr;  // (256)

 private:
  simt::Settings kept_ = simt::settings();
};

TEST_F(Runtime, DeviceMemoryStartsAsNan) {
  float value = 0;

  EXPECT_EQ(cudaMemcpy(&value, memory_ + 255, sizeof value, cudaMemcpyDeviceToHost), cudaSuccess);

  EXPECT_TRUE(std::isnan(value));
}

TEST_F(Runtime, CopiesGoWhereTheirKindSays) {
  std::vector<float> host(256, 3.0F);
  const std::size_t bytes = 256 * sizeof(float);

  EXPECT_EQ(cudaMemcpyAsync(memory_, host.data(), bytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(host.data(), memory_, bytes, cudaMemcpyDefault, stream_), cudaSuccess);
  EXPECT_EQ(cudaMemcpyAsync(memory_, host.data(), bytes, cudaMemcpyDeviceToHost, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(memory_ + 1, host.data(), bytes, cudaMemcpyHostToDevice, stream_), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaErrorInvalidValue);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  EXPECT_EQ(cudaMemset(host.data(), 0, bytes), cudaErrorInvalidValue);
}

TEST_F(Runtime, RowsWithGapsAreCopied) {
  const std::vector<float> host{1, 2, 3, 4, 5, 6};
  std::vector<float> back(6, 0.0F);
  const std::size_t four = sizeof(float);

  cudaMemset(memory_, 0, 6 * four);
  cudaMemcpy2DAsync(memory_, 3 * four, host.data(), 2 * four, 2 * four, 2, cudaMemcpyHostToDevice, stream_);
  cudaMemcpy(back.data(), memory_, 6 * four, cudaMemcpyDeviceToHost);

  EXPECT_EQ(back, (std::vector<float>{1, 2, 0, 3, 4, 0}));
}

TEST_F(Runtime, CountsWhatAStepMustNotDo) {
  const std::size_t bytes = 256 * sizeof(float);
  float* host = nullptr;
  cudaMallocHost(&host, bytes);
  std::fill_n(host, 256, 1.0F);
  float sum = 0;
  cudaMemcpyAsync(memory_, host, bytes, cudaMemcpyHostToDevice, stream_);
  sum_rows({DeviceType::cuda, stream_}, memory_, 1, &sum);
  cudaMemcpyAsync(memory_, memory_ + 128, bytes / 2, cudaMemcpyDeviceToDevice, stream_);
  const simt::Counts before = simt::counts();
  cudaMemcpy(host, memory_, bytes, cudaMemcpyDeviceToHost);
  const simt::Counts after = simt::counts();
  cudaFreeHost(host);

  EXPECT_EQ(before.launches, 1);
  EXPECT_EQ(before.device_allocations, 1);
  EXPECT_EQ(before.live_device_bytes, 1024);
  EXPECT_EQ(before.bytes_to_device, 1024);
  EXPECT_EQ(before.bytes_on_device, 512);
  EXPECT_EQ(before.bytes_to_host, 0);
  EXPECT_EQ(before.blocking_calls, 0);
  EXPECT_EQ(after.bytes_to_host, 1024);
  EXPECT_EQ(after.blocking_calls, 1);
}

TEST_F(Runtime, CopiesOfPageableMemoryBlock) {
  simt::settings().deferred = true;
  std::vector<float> host(256, 3.0F);
  const simt::Counts before = simt::counts();

  cudaMemcpyAsync(memory_, host.data(), 256 * sizeof(float), cudaMemcpyHostToDevice, stream_);
  host.assign(256, 0.0F);
  cudaMemcpyAsync(host.data(), memory_, 256 * sizeof(float), cudaMemcpyDeviceToHost, stream_);

  EXPECT_EQ(host, std::vector<float>(256, 3.0F));
  EXPECT_EQ(simt::counts().blocking_calls, before.blocking_calls + 2);
}

TEST_F(Runtime, PinnedMemoryMustStayAsItIsUntilTheCopyIsDone) {
  simt::settings().deferred = true;
  float* host = nullptr;
  float back = 0;
  cudaMallocHost(&host, sizeof(float));
  *host = 3.0F;

  cudaMemcpyAsync(memory_, host, sizeof(float), cudaMemcpyHostToDevice, stream_);
  *host = 4.0F;
  cudaMemcpyAsync(&back, memory_, sizeof(float), cudaMemcpyDeviceToHost, stream_);

  EXPECT_EQ(back, 4.0F);
  cudaFreeHost(host);
}

TEST_F(Runtime, DeviceMemoryEnds) {
  simt::settings().device_memory = 2048;
  void* more = nullptr;
  std::size_t left = 0;
  std::size_t total = 0;

  EXPECT_EQ(cudaMalloc(&more, 1025), cudaErrorMemoryAllocation);
  cudaMemGetInfo(&left, &total);

  EXPECT_EQ(left, 1024U);
  EXPECT_EQ(total, 2048U);
  EXPECT_EQ(std::string(cudaGetErrorString(cudaGetLastError())), "out of memory");
}

TEST_F(Runtime, FreeTakesOnlyWhatMallocGave) {
  EXPECT_EQ(cudaFree(memory_ + 1), cudaErrorInvalidValue);
  EXPECT_EQ(cudaFree(nullptr), cudaSuccess);
}

TEST_F(Runtime, DeferredWorkRunsWhenItIsWaitedFor) {
  simt::settings().deferred = true;
  const std::vector<float> x(256, 1.0F);
  float sum = 0;

  sum_rows({DeviceType::cuda, stream_}, x.data(), 1, &sum);
  EXPECT_EQ(sum, 0.0F);
  cudaStreamSynchronize(stream_);

  EXPECT_EQ(sum, 256.0F);
}

TEST_F(Runtime, AStreamWaitsForAnEventOfAnother) {
  simt::settings().deferred = true;
  cudaStream_t second = nullptr;
  cudaEvent_t event = nullptr;
  cudaStreamCreateWithFlags(&second, cudaStreamNonBlocking);
  cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  std::vector<int> order;
  const auto first_work = [](void* data) { static_cast<std::vector<int>*>(data)->push_back(1); };
  const auto second_work = [](void* data) { static_cast<std::vector<int>*>(data)->push_back(2); };
  const auto third_work = [](void* data) { static_cast<std::vector<int>*>(data)->push_back(3); };

  cudaLaunchHostFunc(stream_, first_work, &order);
  cudaEventRecord(event, stream_);
  cudaLaunchHostFunc(stream_, third_work, &order);
  cudaStreamWaitEvent(second, event);
  cudaLaunchHostFunc(second, second_work, &order);
  cudaStreamSynchronize(second);

  EXPECT_EQ(order.front(), 1);
  EXPECT_EQ(order.back(), 2);
  EXPECT_EQ(cudaEventQuery(event), cudaSuccess);
  cudaEventDestroy(event);
  cudaStreamDestroy(second);
}

TEST_F(Runtime, WorkBehindAWaitStaysBehindIt) {
  simt::settings().deferred = true;
  cudaStream_t second = nullptr;
  cudaEvent_t events[2] = {};
  cudaStreamCreate(&second);
  cudaEventCreate(&events[0]);
  cudaEventCreate(&events[1]);
  std::vector<int> order;
  const auto one = [](void* data) { static_cast<std::vector<int>*>(data)->push_back(1); };
  const auto two = [](void* data) { static_cast<std::vector<int>*>(data)->push_back(2); };

  // The second stream's first work waits for nothing, its second for the first stream, which waits for its first.
  cudaLaunchHostFunc(second, one, &order);
  cudaEventRecord(events[0], second);
  cudaStreamWaitEvent(stream_, events[0]);
  cudaLaunchHostFunc(stream_, two, &order);
  cudaEventRecord(events[1], stream_);
  cudaStreamWaitEvent(second, events[1]);
  cudaLaunchHostFunc(second, one, &order);
  cudaStreamSynchronize(second);

  EXPECT_EQ(order, (std::vector<int>{1, 2, 1}));
  cudaEventDestroy(events[0]);
  cudaEventDestroy(events[1]);
  cudaStreamDestroy(second);
}

TEST_F(Runtime, ThereIsOneDevice) {
  int count = 0;
  cudaDeviceProp properties;

  cudaGetDeviceCount(&count);

  EXPECT_EQ(count, 1);
  EXPECT_EQ(cudaSetDevice(1), cudaErrorInvalidDevice);
  EXPECT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_EQ(properties.totalGlobalMem, simt::settings().device_memory);
  EXPECT_EQ(std::string(cudaGetErrorName(cudaErrorInvalidDevice)), "cudaErrorInvalidDevice");
}

}  // namespace
}  // namespace hrm::test
