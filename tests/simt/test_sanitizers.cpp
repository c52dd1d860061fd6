// What only sanitizers see: each suite runs in the program that has the sanitizer of its name.
#include <gtest/gtest.h>

#include <cstdlib>
#include <vector>

#include "simt/control.hpp"
#include "simt/faulty_kernels.hpp"
#include "simt/sample_kernels.hpp"

namespace hrm::test {
namespace {

constexpr Stream gpu{DeviceType::cuda, nullptr};

void run(Fault fault) {
  const std::vector<float> x(128, 1.0F);
  std::vector<float> y(128);
  run_faulty(gpu, fault, x.data(), y.data());
}

TEST(AddressSanitizer, SeesTheFirstElementBeyondEveryMemory) {
  EXPECT_DEATH(run(Fault::beyond_static_shared), "heap-buffer-overflow(.|\n)*faulty_kernels.cu");
  EXPECT_DEATH(run(Fault::beyond_dynamic_shared), "heap-buffer-overflow");
  EXPECT_DEATH(run(Fault::beyond_global), "heap-buffer-overflow");
}

TEST(UndefinedBehaviorSanitizer, SeesAnUnalignedVector) {
  EXPECT_DEATH(run(Fault::unaligned_vector), "misaligned address");
}

/// ThreadSanitizer ends a process that had races with this code.
constexpr int had_races = 66;

class ThreadSanitizer : public testing::Test {
 protected:
  ThreadSanitizer() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ThreadSanitizer, SeesWhatNoBarrierOrders) {
  for (const Fault fault : {Fault::missing_barrier, Fault::missing_barrier_that_order_hides,
                            Fault::missing_warp_barrier, Fault::shuffle_as_barrier}) {
    EXPECT_EXIT((run(fault), std::exit(0)), testing::ExitedWithCode(had_races), "data race(.|\n)*order_wrongly");
  }
}

TEST_F(ThreadSanitizer, SeesABufferFilledTooEarly) {
  const auto race = [] {
    const std::vector<float> x(6 * 128, 1.0F);
    std::vector<float> y(x.size());
    simt::settings().copies = simt::AsyncCopies::eager;
    reverse_pieces_without_second_barrier(gpu, x.data(), 6, y.data());
    std::exit(0);
  };
  EXPECT_EXIT(race(), testing::ExitedWithCode(had_races), "data race(.|\n)*reverse_pieces_racing");
}

TEST_F(ThreadSanitizer, SaysNothingOfKernelsWithoutRaces) {
  const auto clean = [] {
    const std::vector<float> x(6 * 128, 1.0F);
    std::vector<float> y(x.size());
    sum_rows(gpu, x.data(), 3, y.data());
    reverse_pieces(gpu, x.data(), 6, y.data());
    std::exit(0);
  };
  EXPECT_EXIT(clean(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace hrm::test
