#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace hrm::infer::test {

/// A folder of the running test alone, for tests run side by side.
inline std::filesystem::path test_folder() {
  const testing::TestInfo* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / (std::string(info->test_suite_name()) + "." + info->name());
  std::filesystem::create_directories(folder);
  return folder;
}

inline std::filesystem::path write_file(const std::string& name, const std::string& text) {
  const std::filesystem::path file = test_folder() / name;
  std::ofstream(file) << text;
  return file;
}

}  // namespace hrm::infer::test
