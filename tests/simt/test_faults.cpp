// Every fault of faulty_kernels.hpp is found, and what is said names the threads and the place.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "simt/control.hpp"
#include "simt/faulty_kernels.hpp"
#include "simt/sample_kernels.hpp"

namespace hrm::test {
namespace {

constexpr Stream gpu{DeviceType::cuda, nullptr};

std::vector<float> numbers(std::size_t count) {
  std::vector<float> x(count);
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = static_cast<float>(i + 1);
  }
  return x;
}

/// What the shim says.
std::string complaint(Fault fault) {
  const std::vector<float> x = numbers(128);
  std::vector<float> y(128);
  try {
    run_faulty(gpu, fault, x.data(), y.data());
  } catch (const simt::KernelError& error) {
    return error.what();
  }
  return "nothing";
}

std::vector<float> result(Fault fault) {
  const std::vector<float> x = numbers(128);
  std::vector<float> y(128);
  run_faulty(gpu, fault, x.data(), y.data());
  return y;
}

bool has_nan(const std::vector<float>& y) {
  for (const float value : y) {
    if (std::isnan(value)) {
      return true;
    }
  }
  return false;
}

class Faults : public testing::Test {
 protected:
  Faults() { simt::settings() = {}; }
  ~Faults() override { simt::settings() = kept_; }

 private:
  simt::Settings kept_ = simt::settings();
};

struct Said {
  Fault fault;
  std::vector<std::string> words;
};

TEST_F(Faults, AreNamedWithThreadsAndPlace) {
  const std::vector<Said> table{
      {Fault::barrier_in_part_of_block,
       {"meet_wrongly: deadlock in block (0, 0, 0)", "threads 0-63 wait at __syncthreads at ",
        "faulty_kernels.cu:", "threads 64-127 ended"}},
      {Fault::barrier_in_place_of_shuffle,
       {"deadlock", "threads 0-15 wait at __syncthreads", "threads 16-31 wait at __shfl_xor_sync"}},
      {Fault::two_barriers, {"meet in different barriers", "thread 32, __syncthreads at "}},
      {Fault::shuffle_of_ended_lane, {"thread 7 ends, but __shfl_xor_sync at ", "waits for it"}},
      {Fault::shuffle_from_outside_the_mask, {"thread 16 (lane 16) is not in the mask of its __shfl_xor_sync"}},
      {Fault::shuffle_of_lane_outside_the_mask, {"thread 0 reads lane 16, which is not in the mask"}},
      {Fault::two_shuffles, {"lanes of warp 0 meet in different calls", "thread 1, __shfl_xor_sync at "}},
      {Fault::too_many_threads, {"a block of 32 x 33 x 1 threads"}},
      {Fault::no_threads, {"a block of 0 x 1 x 1 threads"}},
      {Fault::too_many_blocks, {"a grid of 1 x 65536 x 1 blocks"}},
      {Fault::too_much_dynamic_shared, {"233472 bytes of dynamic shared memory: a block may have 232448"}},
      {Fault::too_much_shared, {"512 bytes of static and 232448 of dynamic shared memory"}},
      {Fault::copy_to_unaligned_shared, {"copy_async_16: ", "is not aligned to 16"}},
      {Fault::copy_from_unaligned_global, {"copy_async_16: the address in global memory is not aligned"}},
      {Fault::copy_to_global, {"copy_async_16: ", "do not lie in shared memory"}},
      {Fault::matrix_from_unaligned_shared, {"load_matrix_x4: ", "is not aligned to 16"}},
  };
  for (const Said& row : table) {
    const std::string said = complaint(row.fault);
    for (const std::string& words : row.words) {
      EXPECT_NE(said.find(words), std::string::npos) << "fault " << static_cast<int>(row.fault) << ": " << said;
    }
  }
}

TEST_F(Faults, AreFoundInRandomOrderToo) {
  for (simt::settings().seed = 1; simt::settings().seed < 5; ++simt::settings().seed) {
    for (int fault = 0; fault <= static_cast<int>(Fault::matrix_from_unaligned_shared); ++fault) {
      EXPECT_NE(complaint(static_cast<Fault>(fault)), "nothing") << "fault " << fault;
    }
  }
}

TEST_F(Faults, LeaveTheShimUsable) {
  complaint(Fault::barrier_in_place_of_shuffle);
  const std::vector<float> x(256, 1.0F);
  float sum = 0;

  sum_rows(gpu, x.data(), 1, &sum);

  EXPECT_EQ(sum, 256.0F);
}

TEST_F(Faults, OfOrderGiveNan) {
  for (const Fault fault :
       {Fault::missing_barrier, Fault::missing_copy_wait, Fault::weak_copy_wait, Fault::missing_warp_barrier}) {
    EXPECT_TRUE(has_nan(result(fault))) << "fault " << static_cast<int>(fault);
  }
}

TEST_F(Faults, ThatOrderHidesShowInRandomOrder) {
  EXPECT_FALSE(has_nan(result(Fault::missing_barrier_that_order_hides)));
  simt::settings().seed = 5;
  EXPECT_TRUE(has_nan(result(Fault::missing_barrier_that_order_hides)));
}

TEST_F(Faults, ThatLateCopiesHideShowWithEagerOnes) {
  const std::vector<float> x = numbers(6 * 128);
  const auto errors = [&] {
    std::vector<float> y(x.size());
    reverse_pieces_without_second_barrier(gpu, x.data(), 6, y.data());
    int wrong = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      wrong += y[i] != x[i / 128 * 128 + 127 - i % 128] ? 1 : 0;
    }
    return wrong;
  };

  EXPECT_EQ(errors(), 0);
  simt::settings().copies = simt::AsyncCopies::eager;
  EXPECT_GT(errors(), 0);
}

}  // namespace
}  // namespace hrm::test
