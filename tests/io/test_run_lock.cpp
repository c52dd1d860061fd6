#include "io/run_lock.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "expect_error.hpp"
#include "io/disk.hpp"
#include "io/status.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

using Json = nlohmann::json;

class RunLockTest : public testing::Test {
 protected:
  /// A lock file as some other process would have left it.
  void leave_lock(const LockHolder& holder) {
    const Json object = {
        {"run_id", holder.run_id},   {"host", holder.host},         {"boot_id", holder.boot_id},
        {"pid", holder.pid},         {"job_id", holder.job_id},     {"process_start", holder.process_start},
        {"restart", holder.restart}, {"start_id", holder.start_id}, {"pid_space", holder.pid_space}};
    overwrite(scratch_ / "lock", object.dump());
  }
  /// The lock of a process on another host, renewed so many seconds ago.
  void leave_foreign_lock(int seconds) {
    LockHolder holder = this_process("run1");
    holder.host = "elsewhere";
    holder.boot_id = "another";
    leave_lock(holder);
    age_lock(seconds);
  }
  void age_lock(int seconds) {
    std::filesystem::last_write_time(scratch_ / "lock",
                                     std::filesystem::file_time_type::clock::now() - std::chrono::seconds(seconds));
  }
  /// Whether `condition` becomes true within ten seconds.
  template <class Condition>
  static bool soon(Condition&& condition) {
    for (int i = 0; i < 1000 && !condition(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return condition();
  }
  /// Id of a process that has ended.
  static pid_t dead_process() {
    const pid_t child = ::fork();
    if (child == 0) {
      ::_exit(0);
    }
    ::waitpid(child, nullptr, 0);
    return child;
  }
  ScratchFolder scratch_;
};

TEST_F(RunLockTest, NamesItsHolder) {
  const RunLock lock(scratch_.path(), "run1");

  const Json object = Json::parse(file_bytes(scratch_ / "lock"));

  EXPECT_EQ(object["pid"], ::getpid());
  EXPECT_EQ(object["run_id"], "run1");
  EXPECT_FALSE(object["boot_id"].get<std::string>().empty());
  EXPECT_GT(object["process_start"].get<std::int64_t>(), 0);
}

TEST_F(RunLockTest, SecondRunIsRefusedAndToldOfTheFirst) {
  const RunLock lock(scratch_.path(), "run1");

  expect_error(ExitCode::cannot_create, fmt::format("process {}", ::getpid()),
               [&] { RunLock(scratch_.path(), "run2"); });
}

TEST_F(RunLockTest, IsGoneAfterwards) {
  { const RunLock lock(scratch_.path(), "run1"); }

  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
}

TEST_F(RunLockTest, DeadProcessOfThisHostIsStale) {
  LockHolder holder = this_process("run1");
  holder.pid = dead_process();
  leave_lock(holder);

  const RunLock lock(scratch_.path(), "run2");

  EXPECT_EQ(stored_run_id(scratch_.path()), "run2");
}

TEST_F(RunLockTest, RemovesWhatKilledAttemptsLeft) {
  LockHolder dead = this_process("run1");
  dead.pid = dead_process();
  leave_lock(dead);
  std::filesystem::rename(scratch_ / "lock", scratch_ / ".lock.here-1.tmp");
  leave_lock(this_process("run1"));
  std::filesystem::rename(scratch_ / "lock", scratch_ / ".lock.here-2.tmp");

  const RunLock lock(scratch_.path(), "run2");

  EXPECT_FALSE(std::filesystem::exists(scratch_ / ".lock.here-1.tmp"));
  EXPECT_TRUE(std::filesystem::exists(scratch_ / ".lock.here-2.tmp")) << "its process lives";
}

TEST_F(RunLockTest, ReusedProcessIdIsStale) {
  LockHolder holder = this_process("run1");
  holder.process_start -= 1;
  leave_lock(holder);

  EXPECT_NO_THROW(RunLock(scratch_.path(), "run2"));
}

TEST_F(RunLockTest, OtherHostIsNotStale) {
  LockHolder holder = this_process("run1");
  holder.host = "elsewhere";
  holder.boot_id = "another";
  leave_lock(holder);

  expect_error(ExitCode::cannot_create, "elsewhere", [&] { RunLock(scratch_.path(), "run2"); });
}

TEST_F(RunLockTest, AHostsNameWithAnotherBootIsAnotherHostUnlessItIsSilent) {
  LockHolder holder = this_process("run1");
  holder.boot_id = "another";
  leave_lock(holder);
  age_lock(20);
  expect_error(ExitCode::cannot_create, "in use", [&] { RunLock(scratch_.path(), "run2"); });
  leave_lock(holder);
  age_lock(40);

  EXPECT_NO_THROW(RunLock(scratch_.path(), "run2"));
}

TEST_F(RunLockTest, OtherHostThatGaveNoSignOfLifeForLongIsStale) {
  leave_foreign_lock(170);
  expect_error(ExitCode::cannot_create, "last sign of life 170 s ago", [&] { RunLock(scratch_.path(), "run2"); });
  leave_foreign_lock(190);

  const RunLock lock(scratch_.path(), "run2");

  EXPECT_EQ(stored_run_id(scratch_.path()), "run2");
}

TEST_F(RunLockTest, ProcessNumberOfAnotherContainerSaysNothing) {
  LockHolder holder = this_process("run1");
  holder.pid = dead_process();
  holder.pid_space = "pid:[1]";
  leave_lock(holder);

  expect_error(ExitCode::cannot_create, "sign of life", [&] { RunLock(scratch_.path(), "run2"); });
}

TEST_F(RunLockTest, HolderRenewsIt) {
  const RunLock lock(scratch_.path(), "run1", {}, {0.02, 180});
  age_lock(1000);

  const auto fresh = [&] {
    return std::filesystem::last_write_time(scratch_ / "lock") >
           std::filesystem::file_time_type::clock::now() - std::chrono::seconds(100);
  };

  EXPECT_TRUE(soon(fresh));
}

TEST_F(RunLockTest, HolderThatWasTakenForDeadGivesWay) {
  std::atomic<bool> lost = false;
  {
    const RunLock first(scratch_.path(), "run1", [&](const std::string&) { lost = true; }, {0.02, 180});
    LockHolder other = this_process("run2");
    std::filesystem::remove(scratch_ / "lock");
    leave_lock(other);

    EXPECT_TRUE(soon([&] { return lost.load(); }));
  }

  EXPECT_EQ(stored_run_id(scratch_.path()), "run2") << "the other's lock stays";
}

TEST_F(RunLockTest, OneOfManyTakesAStaleLock) {
  leave_foreign_lock(1000);
  std::atomic<int> holders = 0;
  std::vector<std::thread> starts;
  std::vector<std::unique_ptr<RunLock>> locks(8);
  for (std::unique_ptr<RunLock>& lock : locks) {
    starts.emplace_back([&] {
      try {
        lock = std::make_unique<RunLock>(scratch_.path(), "run2");
        ++holders;
      } catch (const InputError&) {
      }
    });
  }
  for (std::thread& start : starts) {
    start.join();
  }

  EXPECT_EQ(holders, 1);
}

TEST_F(RunLockTest, EarlierStartOfTheSameJobIsStale) {
  LockHolder holder = this_process("run1");
  holder.host = "elsewhere";
  holder.boot_id = "another";
  holder.job_id = "4711";
  leave_lock(holder);
  ::setenv("SLURM_JOB_ID", "4711", 1);
  ::setenv("SLURM_RESTART_COUNT", "1", 1);

  EXPECT_NO_THROW(RunLock(scratch_.path(), "run1"));

  ::unsetenv("SLURM_JOB_ID");
  ::unsetenv("SLURM_RESTART_COUNT");
}

TEST_F(RunLockTest, UnreadableLockIsRefused) {
  overwrite(scratch_ / "lock", "nonsense");

  expect_error(ExitCode::cannot_create, "remove the file", [&] { RunLock(scratch_.path(), "run2"); });
}

TEST_F(RunLockTest, RunIdIsFoundInStatusAfterTheLockIsGone) {
  Status status;
  status.run_id = "run9";
  write_status(scratch_.path(), status, true);

  EXPECT_EQ(stored_run_id(scratch_.path()), "run9");
}

TEST(Status, ComesBack) {
  const ScratchFolder scratch;
  Status status;
  status.state = state_of_exit(75);
  status.exit_code = 75;
  status.step = 12;
  status.last_checkpoint = "step-00000012.h5";
  write_status(scratch.path(), status);

  const std::optional<Status> found = read_status(scratch.path());

  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->state, "stopped");
  EXPECT_EQ(found->exit_code, 75);
  EXPECT_EQ(found->step, 12);
  EXPECT_EQ(found->last_checkpoint, "step-00000012.h5");
}

TEST(Status, OverwritesWhatAKilledWriterLeft) {
  const ScratchFolder scratch;
  overwrite(temporary_name(scratch.path() / "status.json", replacement_tag), "{\"sta");

  write_status(scratch.path(), Status{});

  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(scratch.path()), {}), 1);
}

TEST(Status, RunningHasNoExitCode) {
  const ScratchFolder scratch;
  Status status;
  status.state = "running";
  write_status(scratch.path(), status);

  const Json object = Json::parse(file_bytes(scratch / "status.json"));

  for (const char* key : {"exit_code", "last_checkpoint", "eta", "reason", "job_id"}) {
    EXPECT_TRUE(object.at(key).is_null()) << key;
  }
  EXPECT_FALSE(object.at("updated_at").get<std::string>().empty());
}

TEST(Status, BrokenFileIsNone) {
  const ScratchFolder scratch;
  overwrite(scratch / "status.json", "{\"state\":");

  EXPECT_FALSE(read_status(scratch.path()).has_value());
}

}  // namespace
}  // namespace hrm::io
