#include "train/saving.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/checkpoint_reader.hpp"
#include "io/metrics.hpp"
#include "io/run_files.hpp"

namespace hrm::train {
namespace {

/// One rank's saves of one tensor.
class SavingTest : public testing::Test {
 protected:
  SavingTest() {
    std::filesystem::remove_all(path_);
    config_.checkpoint.dir = path_.string();
    config_.checkpoint.async = true;
    folder_.emplace(*alone_, config_, config_.checkpoint.staging_bytes);
    folder_->start_point({});
    folder_->open_metrics({}, {}, false);
    saving_.emplace(*alone_, *folder_, config_.checkpoint);
    io::TensorPart part;
    part.path = "/model/embed_tokens";
    part.slice.logical_shape = {static_cast<std::int64_t>(values_.size())};
    part.count = static_cast<std::int64_t>(values_.size());
    part.data = values_.data();
    parts_ = {part};
  }
  ~SavingTest() override {
    saving_.reset();
    folder_.reset();
    std::filesystem::remove_all(path_);
  }

  void begin(std::int64_t step) {
    io::CheckpointMeta meta;
    meta.step = step;
    saving_->start(
        meta, [this] { return parts_; }, "test");
  }
  void fails(std::int64_t step) {
    begin(step);
    std::filesystem::remove(temporary(step));  // no later piece of the save finds it
    saving_->settle();
  }
  std::filesystem::path temporary(std::int64_t step) const {
    return path_ / fmt::format(".{}.{}.tmp", io::checkpoint_name(step), folder_->run_id());
  }
  std::int64_t failures() const {
    const auto rows = io::read_journal(path_ / "metrics.jsonl");
    return std::count_if(rows.begin(), rows.end(),
                         [](const auto& row) { return row.value("kind", "") == "save_failed"; });
  }

  std::filesystem::path path_ = std::filesystem::path(testing::TempDir()) / fmt::format("saving-{}", ::getpid());
  std::unique_ptr<comm::Communicator> alone_ = comm::serial_communicator();
  config::RunConfig config_;
  std::vector<float> values_ = std::vector<float>(100, 1.5F);
  std::optional<RunFolder> folder_;
  std::optional<Saving> saving_;
  std::vector<io::TensorPart> parts_;
};

TEST_F(SavingTest, FileThatVanishesIsAFailedSaveAndTheNextOneServes) {
  begin(1);
  saving_->settle();

  EXPECT_NO_THROW(fails(2));

  EXPECT_EQ(failures(), 1);
  EXPECT_EQ(std::filesystem::read_symlink(path_ / "latest.h5"), io::checkpoint_name(1));
  begin(3);
  saving_->settle();
  EXPECT_EQ(std::filesystem::read_symlink(path_ / "latest.h5"), io::checkpoint_name(3));
  EXPECT_NO_THROW(fails(4)) << "failures in a row are counted";
}

TEST_F(SavingTest, SecondFailureInARowIsAnIoErrorWhateverTheReasons) {
  fails(1);

  try {
    fails(2);
    FAIL() << "the run goes on";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::io_error);
  }
}

TEST_F(SavingTest, FolderInPlaceOfTheFileIsAFailedSave) {
  std::filesystem::create_directory(path_ / io::checkpoint_name(1));
  begin(1);

  EXPECT_NO_THROW(saving_->settle());

  EXPECT_EQ(failures(), 1);
  EXPECT_FALSE(std::filesystem::exists(temporary(1)));
}

TEST_F(SavingTest, FolderInPlaceOfTheTemporaryIsAFailedSave) {
  std::filesystem::create_directory(temporary(1));

  EXPECT_NO_THROW(begin(1));

  EXPECT_EQ(failures(), 1);
}

}  // namespace
}  // namespace hrm::train
