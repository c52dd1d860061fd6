// Damaged files are refused with one message and never crash the program.
#include <gtest/gtest.h>

#include "base/text.hpp"
#include "expect_error.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/corpus.hpp"
#include "io/inspect.hpp"
#include "io/user_block.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

/// Of each file; more by hand: HRM_TEST_FLIPS=3000 bin/test_io --gtest_filter='DamageTest.*'
std::uint64_t n_flips() {
  const std::string wanted = environment("HRM_TEST_FLIPS");
  return wanted.empty() ? 200 : std::stoull(wanted);
}

class DamageTest : public testing::Test {
 protected:
  void SetUp() override {
    const MadeState state = made_state(7);
    CheckpointWriter writer(*serial_, scratch_ / "run", "run1");
    checkpoint_ = writer.save(state.meta, state.parts(0, 1));
    write_made_corpus(*serial_, scratch_ / "shards", 30, 300, 1000);
    shard_ = scratch_ / "shards/shard-00000.h5";
  }
  /// Runs `open` and verify_file on copies with one bit flipped; every one must be refused as bad data by both.
  template <class Open>
  void expect_flips_found(const std::filesystem::path& path, Open open) {
    const std::string good = file_bytes(path);
    const RandomStream numbers(1, RandomPurpose::demo);
    for (std::uint64_t i = 0; i < n_flips(); ++i) {
      std::string bad = good;
      // Every third flip hits the user block, the others any byte: attributes, headers, heaps, data.
      const std::uint64_t at = numbers.below(2 * i, i % 3 == 0 ? 512 : good.size());
      bad[at] = static_cast<char>(bad[at] ^ (1 << numbers.below(2 * i + 1, 8)));
      overwrite(path, bad);
      expect_error(ExitCode::bad_data, path.filename().string(), open);
      expect_error(ExitCode::bad_data, path.filename().string(), [&] { verify_file(path); });
    }
    overwrite(path, good);
    EXPECT_NO_THROW(open());
    EXPECT_NO_THROW(verify_file(path));
  }
  ScratchFolder scratch_;
  std::unique_ptr<comm::Communicator> serial_ = comm::serial_communicator();
  std::filesystem::path checkpoint_;
  std::filesystem::path shard_;
};

TEST_F(DamageTest, EveryFlippedBitOfACheckpointIsFound) {
  expect_flips_found(checkpoint_, [&] { CheckpointReader(*serial_, checkpoint_); });
}

TEST_F(DamageTest, EveryFlippedBitOfAShardIsFound) {
  expect_flips_found(shard_, [&] { open_corpus(*serial_, scratch_ / "shards"); });
}

TEST_F(DamageTest, EveryFlippedBitOfTheCorpusFileIsFound) {
  expect_flips_found(scratch_ / "shards/corpus.h5", [&] { open_corpus(*serial_, scratch_ / "shards"); });
}

TEST_F(DamageTest, DamagedFilesAreShownAsFarAsHdf5ReadsThem) {
  std::string bad = file_bytes(checkpoint_);
  bad[bad.size() - 3] = static_cast<char>(bad[bad.size() - 3] ^ 1);
  overwrite(checkpoint_, bad);

  const nlohmann::ordered_json description = describe(checkpoint_);

  EXPECT_NE(description["damage"].get<std::string>().find("is damaged"), std::string::npos);
  EXPECT_EQ(description["state"]["step"], 7);
  EXPECT_NE(describe_text(description).find("/model/embed_tokens"), std::string::npos);
}

TEST_F(DamageTest, TruncatedFilesAreRefused) {
  const std::string good = file_bytes(checkpoint_);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{100}, std::size_t{512}, good.size() / 2, good.size() - 1}) {
    overwrite(checkpoint_, good.substr(0, length));
    expect_error(ExitCode::bad_data, "truncated", [&] { CheckpointReader(*serial_, checkpoint_); });
  }
}

TEST_F(DamageTest, ForeignFilesAreRefused) {
  overwrite(checkpoint_, std::string(4096, 'x'));

  expect_error(ExitCode::bad_data, "not a file of this program", [&] { verify_file(checkpoint_); });
}

TEST_F(DamageTest, AFolderIsRefused) {
  expect_error(ExitCode::bad_data, "not a regular file", [&] { verify_file(scratch_.path()); });
}

TEST_F(DamageTest, AShardIsNoCheckpoint) {
  expect_error(ExitCode::bad_data, "hrm-corpus-shard", [&] { CheckpointReader(*serial_, shard_); });
}

}  // namespace
}  // namespace hrm::io
