#ifdef HRM_TEST_DATA
// Real golden files, as they are and with one number changed. Registered only where HRM_TEST_DATA names them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/hdf5.hpp"
#include "tests/validate/validated.hpp"

namespace hrm::validate {
namespace {

namespace fs = std::filesystem;

fs::path golden() {
  return fs::path(HRM_TEST_DATA) / "golden";
}

/// A copy of a golden file that a test may damage.
class Copy {
 public:
  explicit Copy(const std::string& name)
      : path_(fs::temp_directory_path() / fmt::format("hrm_test_golden_{}_{}", static_cast<long>(::getpid()), name)) {
    fs::copy_file(golden() / name, path_, fs::copy_options::overwrite_existing);
  }
  ~Copy() { fs::remove(path_); }
  Copy(const Copy&) = delete;
  Copy& operator=(const Copy&) = delete;
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

ExitCode error_of(const std::string& path) {
  try {
    passes(path);
  } catch (const InputError& error) {
    return error.code();
  }
  return ExitCode::ok;
}

/// Whether the file still passes after `relative` of the largest element was added to element `index` of a data set.
bool passes_with_change(const std::string& name, const std::string& dataset, std::size_t index, double change) {
  const Copy copy(name);
  {
    auto file = io::h5::File::open_for_writing(copy.path());
    auto data = file.open_dataset(dataset);
    std::vector<double> values = data.read<double>();
    values.at(index) += change;
    data.write<double>(values);
    file.close();
  }
  return passes(copy.path());
}

TEST(Golden, EveryFileHoldsInFp32) {
  for (const auto& entry : fs::directory_iterator(golden())) {
    if (entry.path().extension() == ".h5" || entry.path().extension() == ".json") {
      EXPECT_TRUE(passes(entry.path().string())) << entry.path();
    }
  }
}

TEST(Golden, EveryFileHoldsInBf16) {
  for (const auto& entry : fs::directory_iterator(golden())) {
    if (entry.path().extension() == ".h5") {
      EXPECT_TRUE(passes(entry.path().string(), Precision::bf16)) << entry.path();
    }
  }
}

TEST(Golden, ModelsHoldWithEveryOptionOfTraining) {
  config::RunConfig config;
  config.parallel.zero = 0;
  config.parallel.overlap = false;
  config.train.deterministic = false;
  config.train.recompute = true;
  for (const char* name : {"hrm_bp_schedule_2_3_5.h5", "ut_4_bp2.h5", "ranks_hrm_x2.h5"}) {
    EXPECT_TRUE(passes(golden() / name, Precision::fp32, config)) << name;
  }
}

TEST(Golden, ChangedNumbersFail) {
  EXPECT_FALSE(passes_with_change("ops.h5", "/swiglu/d_x", 3, 1e-3));
  EXPECT_FALSE(passes_with_change("ops.h5", "/attention_causal/k", 7, 1e-2));
  EXPECT_FALSE(passes_with_change("adam_atan2.h5", "/step_2/ema/b", 0, 1e-3));
  EXPECT_FALSE(passes_with_change("hrm_prefixlm_bp3.h5", "/expected/logits", 9, 1e-3));
  EXPECT_FALSE(passes_with_change("hrm_prefixlm_bp3.h5", "/expected/after3/losses", 3, 1e-3));
  EXPECT_FALSE(passes_with_change("hrm_prefixlm_bp2.h5", "/expected/grads/embed_tokens", 0, 1e-3));
  EXPECT_FALSE(passes_with_change("hrm_prefixlm_bp2.h5", "/weights/H.layers.0.o", 0, 1e-7));
  EXPECT_FALSE(passes_with_change("ranks_hrm_x2.h5", "/expected/divisor", 0, 1));
  EXPECT_FALSE(passes_with_change("decode_hrm.h5", "/prompt_1/margins", 2, 1e-3));
}

TEST(Golden, ChangedScheduleFails) {
  nlohmann::json content = nlohmann::json::parse(std::ifstream(golden() / "schedules.json"));
  content["lr"][1]["expected"][4] = content["lr"][1]["expected"][4].get<double>() * (1 + 1e-9);
  const Copy copy("schedules.json");
  std::ofstream(copy.path()) << content;

  EXPECT_FALSE(passes(copy.path()));
}

TEST(Golden, ChangedPackFails) {
  nlohmann::json content = nlohmann::json::parse(std::ifstream(golden() / "multipack.json"));
  std::swap(content["cases"][0]["batches_per_rank"][0][0][0], content["cases"][0]["batches_per_rank"][0][0][1]);
  const Copy copy("multipack.json");
  std::ofstream(copy.path()) << content;

  EXPECT_FALSE(passes(copy.path()));
}

TEST(Golden, TruncatedFileIsBadData) {
  const Copy copy("hrm_prefixlm_bp3.h5");
  fs::resize_file(copy.path(), fs::file_size(copy.path()) / 2);

  EXPECT_EQ(error_of(copy.path()), ExitCode::bad_data);
}

TEST(Golden, LayoutThatNoPackHasIsBadData) {
  const Copy copy("ops.h5");
  {
    auto file = io::h5::File::open_for_writing(copy.path());
    auto data = file.open_dataset("/attention_causal/cu_seqlens");
    data.write<std::int32_t>(std::vector<std::int32_t>{0, 5, 1 << 30, 7, 8});
    file.close();
  }

  EXPECT_EQ(error_of(copy.path()), ExitCode::bad_data);
}

}  // namespace
}  // namespace hrm::validate

#endif
