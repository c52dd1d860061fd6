#include "io/run_files.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "io_samples.hpp"

namespace hrm::io {
namespace {

TEST(RunFiles, LatestIsReplaced) {
  const ScratchFolder scratch;
  point_latest(scratch.path(), "step-00000001.h5");

  point_latest(scratch.path(), "step-00000002.h5");

  EXPECT_EQ(std::filesystem::read_symlink(scratch / "latest.h5"), "step-00000002.h5");
}

TEST(RunFiles, TextForALinkOrADeviceGoesWhereItLeads) {
  const ScratchFolder scratch;
  overwrite(scratch / "file", "before, and longer");
  std::filesystem::create_symlink("file", scratch / "link");
  std::filesystem::create_symlink("/dev/null", scratch / "device");

  replace_file(scratch / "link", "after", true);
  replace_file(scratch / "device", "after", true);

  EXPECT_EQ(file_bytes(scratch / "file"), "after");
  EXPECT_TRUE(std::filesystem::is_symlink(scratch / "link"));
  EXPECT_TRUE(std::filesystem::is_character_file(scratch / "device"));
}

TEST(RunFiles, SetAsideTakesTheNextNumber) {
  const ScratchFolder scratch;
  overwrite(scratch / "a.old-4", "earlier");
  overwrite(scratch / "a", "now");

  EXPECT_EQ(set_aside(scratch / "a").filename(), "a.old-5");

  EXPECT_EQ(file_bytes(scratch / "a.old-5"), "now");
  EXPECT_FALSE(std::filesystem::exists(scratch / "a"));
}

TEST(RunFiles, OldestOfWhatWasSetAsideGoes) {
  const ScratchFolder scratch;
  const auto now = std::filesystem::file_time_type::clock::now();
  int minutes_ago = 0;
  for (const char* name : {"step-3.h5.old-1", "step-1.h5.old-2", "step-2.h5.old-1", "step-9.h5", "other.old-1"}) {
    overwrite(scratch / name, name);
    std::filesystem::last_write_time(scratch / name, now - std::chrono::minutes(minutes_ago++));
  }

  delete_set_aside(scratch.path(), "step-", 2);

  EXPECT_FALSE(std::filesystem::exists(scratch / "step-2.h5.old-1"));
  for (const char* name : {"step-3.h5.old-1", "step-1.h5.old-2", "step-9.h5", "other.old-1"}) {
    EXPECT_TRUE(std::filesystem::exists(scratch / name)) << name;
  }
}

}  // namespace
}  // namespace hrm::io
