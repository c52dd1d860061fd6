// Guarded mode finds what a GPU would not survive although here both memories are one.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <vector>

#include "simt/control.hpp"
#include "simt/kernel_names.hpp"
#include "simt/sample_kernels.hpp"

namespace hrm::test {
namespace {

constexpr Stream gpu{DeviceType::cuda, nullptr};

class Guard : public testing::Test {
 protected:
  Guard() {
    simt::settings().guarded = true;
    cudaMalloc(&x_, 256 * sizeof(float));
    cudaMalloc(&sum_, sizeof(float));
  }
  ~Guard() override {
    cudaFree(x_);
    cudaFree(sum_);
    simt::settings() = kept_;
  }

  float* x_ = nullptr;    // (256), device
  float* sum_ = nullptr;  // one, device

 private:
  simt::Settings kept_ = simt::settings();
};

TEST_F(Guard, LetsKernelsAndCopiesUseDeviceMemory) {
  const std::vector<float> ones(256, 1.0F);
  float sum = 0;

  cudaMemcpy(x_, ones.data(), 256 * sizeof(float), cudaMemcpyHostToDevice);
  sum_rows(gpu, x_, 1, sum_);
  cudaMemcpy(&sum, sum_, sizeof sum, cudaMemcpyDeviceToHost);

  EXPECT_EQ(sum, 256.0F);
}

TEST_F(Guard, EndsAProcessWhoseHostCodeTouchesDeviceMemory) {
  EXPECT_DEATH(*const_cast<volatile float*>(x_) = 1.0F, "the host touched device memory|SEGV on unknown address");
}

TEST_F(Guard, RefusesArgumentsThatPointToTheHost) {
  float on_host = 0;

  EXPECT_THROW(sum_rows(gpu, x_, 1, &on_host), simt::KernelError);
}

TEST(KernelNames, CountLaunchesByName) {
  const std::vector<float> x(512, 1.0F);
  std::vector<float> y(512);
  simt::clear_launches_by_kernel();

  sum_rows(gpu, x.data(), 1, y.data());
  reverse_pieces(gpu, x.data(), 2, y.data());
  sum_rows(gpu, x.data(), 2, y.data());

  const std::map<std::string, std::int64_t> expected{{"reverse_pieces_kernel", 1}, {"sum_rows_kernel", 2}};
  EXPECT_EQ(simt::launches_by_kernel(), expected);
}

}  // namespace
}  // namespace hrm::test
