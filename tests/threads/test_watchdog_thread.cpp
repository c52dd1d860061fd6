// The watchdog's thread beside the main thread: built without the rest of room train, for ThreadSanitizer.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/error.hpp"
#include "comm/activity.hpp"
#include "train/watchdog.hpp"

namespace hrm::train {
namespace {

/// Rank 0 of two, of which the other never says a word.
class LonelyRank final : public comm::Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 2; }
  void barrier() override {}
  void sum(std::span<double>) override {}
  void sum(std::span<std::uint64_t>) override {}
  void max(std::span<std::int64_t>) override {}
  void broadcast(std::span<std::byte>, int) override {}
  std::vector<std::string> gather(const std::string& mine) override { return {mine, "elsewhere"}; }
  void start_exchange(std::span<const comm::Send>, std::span<const comm::Receive>) override {}
  bool poll() override { return true; }
  void finish_exchange() override {}
  void start_reduce_scatter(std::span<const float>, std::span<const std::int64_t>, std::span<float>) override {}
  std::unique_ptr<comm::Communicator> split(int) override { return nullptr; }
  std::unique_ptr<comm::Communicator> node_group() override { return nullptr; }
  void* native() override { return nullptr; }
};

config::WatchdogConfig soon() {
  config::WatchdogConfig config;
  config.least_seconds = 0.2;
  return config;
}

class WatchdogThread : public testing::Test {
 protected:
  void SetUp() override {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("hrm-watchdog-" + std::to_string(::getpid()));
  LonelyRank world_;
};

TEST_F(WatchdogThread, WatchesAMainThreadThatMovesOn) {
  Watchdog watchdog(world_, soon(), folder_);
  std::string said;
  for (int step = 0; step < 400; ++step) {
    watchdog.enter(step % 2 == 0 ? "load" : "compute", step);
    watchdog.set_verdict([&said](const std::string& text, const std::string&) { said = text; });
    comm::note_operation("MPI_Waitall");
    comm::note_progress();
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  EXPECT_EQ(said, "");
}

TEST_F(WatchdogThread, EndsAProcessWhoseMainThreadStandsStill) {
  const auto stand_still = [&] {
    Watchdog watchdog(world_, soon(), folder_);
    watchdog.enter("reduce", 7);
    std::this_thread::sleep_for(std::chrono::minutes(1));
  };

  EXPECT_EXIT(stand_still(), testing::ExitedWithCode(static_cast<int>(ExitCode::lost_peer)), "no word from rank 1");
}

}  // namespace
}  // namespace hrm::train
