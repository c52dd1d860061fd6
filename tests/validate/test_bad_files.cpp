#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.hpp"
#include "io/hdf5.hpp"
#include "tests/validate/validated.hpp"

namespace hrm::validate {
namespace {

namespace fs = std::filesystem;

class TemporaryFile {
 public:
  TemporaryFile() : path_(fs::temp_directory_path() / fmt::format("hrm_test_bad_{}", static_cast<long>(::getpid()))) {}
  explicit TemporaryFile(const std::string& text) : TemporaryFile() { std::ofstream(path_) << text; }
  ~TemporaryFile() { fs::remove(path_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

ExitCode error_of(const std::string& path) {
  try {
    passes(path);
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos) << error.what();
    return error.code();
  }
  return ExitCode::ok;
}

/// A minimal file of single operations: swiglu of one row, silu(1) * 2 and its gradient for dh = 1.
void write_swiglu(const std::string& path, double expected, bool with_gradient) {
  auto file = io::h5::File::create(path);
  file.set_attribute("format_version", std::int64_t{1});
  const auto write = [&](const char* name, std::vector<double> values) {
    const std::int64_t shape[2] = {1, static_cast<std::int64_t>(values.size())};
    file.create_dataset(name, io::h5::Type::float64, shape).write<double>(values);
  };
  const double s = 0.7310585786300049;  // sigmoid(1)
  write("/swiglu/x", {1, 2});
  write("/swiglu/h", {expected});
  write("/swiglu/d_h", {1});
  if (with_gradient) {
    write("/swiglu/d_x", {2 * (s + s * (1 - s)), s});
  }
  file.close();
}

constexpr double right = 2 * 0.7310585786300049;

TEST(BadFiles, MissingFileIsMissingInput) {
  EXPECT_EQ(error_of("/nowhere/x.h5"), ExitCode::no_input);
}

TEST(BadFiles, FolderIsMissingInput) {
  EXPECT_EQ(error_of("/tmp"), ExitCode::no_input);
}

TEST(BadFiles, ForeignContentIsBadData) {
  for (const char* text : {"", "hello", "{}", "[1]", "{\"other\": 1}", "{\"cases\": 3}", "{\"cases\": []}",
                           "{\"cases\": [{}]}", "{\"lr\": [], \"bp_steps\": []}", "\x89HDF\r\n\x1a\n"}) {
    const TemporaryFile file(text);
    EXPECT_EQ(error_of(file.path()), ExitCode::bad_data) << text;
  }
}

TEST(BadFiles, ImpossiblePacksAreBadData) {
  const TemporaryFile file(
      R"({"cases": [{"lengths": [1, -5], "batch_max_length": 4, "num_replicas": 1, "drop_last_batch": false}]})");

  EXPECT_EQ(error_of(file.path()), ExitCode::bad_data);
}

TEST(Operations, RightFilePasses) {
  const TemporaryFile file;
  write_swiglu(file.path(), right, true);

  EXPECT_TRUE(passes(file.path()));
}

TEST(Operations, WrongNumberFails) {
  const TemporaryFile file;
  write_swiglu(file.path(), right * 1.0001, true);

  EXPECT_FALSE(passes(file.path()));
}

TEST(Operations, MissingDatasetIsAnErrorNotAPass) {
  const TemporaryFile file;
  write_swiglu(file.path(), right, false);

  EXPECT_EQ(error_of(file.path()), ExitCode::bad_data);
}

TEST(Operations, UnknownGroupIsBadData) {
  const TemporaryFile file;
  {
    auto content = io::h5::File::create(file.path());
    content.set_attribute("format_version", std::int64_t{1});
    content.create_group("/convolution");
    content.close();
  }

  EXPECT_EQ(error_of(file.path()), ExitCode::bad_data);
}

}  // namespace
}  // namespace hrm::validate
