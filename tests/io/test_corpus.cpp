#include "io/corpus.hpp"

#include <gtest/gtest.h>

#include "base/digest.hpp"
#include "expect_error.hpp"
#include "io/corpus_file.hpp"
#include "io/integrity.hpp"
#include "io/token_reader.hpp"
#include "io/user_block.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

class CorpusTest : public testing::TestWithParam<std::int64_t> {
 protected:
  ScratchFolder scratch_;
  std::unique_ptr<comm::Communicator> serial_ = comm::serial_communicator();
};

/// All tokens of a sample as the reader gives them.
std::vector<std::int32_t> read_sample(TokenReader& reader, const Corpus& corpus, std::int64_t sample) {
  const auto i = static_cast<std::size_t>(sample);
  const std::int64_t length = corpus.index.instruction_length[i] + std::int64_t{corpus.index.response_length[i]};
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(length));
  const TokenRange range{corpus.index.shard_of(sample), static_cast<std::int64_t>(corpus.index.offset[i]), length,
                         tokens.data()};
  reader.start({&range, 1});
  reader.finish();
  return tokens;
}

std::vector<std::int32_t> tokens_of(const MadeSample& sample) {
  std::vector<std::int32_t> tokens(sample.instruction.begin(), sample.instruction.end());
  tokens.insert(tokens.end(), sample.response.begin(), sample.response.end());
  return tokens;
}

TEST_P(CorpusTest, SamplesComeBackInOrder) {
  write_made_corpus(*serial_, scratch_.path(), 200, GetParam(), 300);

  const Corpus corpus = open_corpus(*serial_, scratch_.path());
  TokenReader reader(std::make_shared<TokenFiles>(*serial_, corpus.info));

  ASSERT_EQ(corpus.index.n_samples(), 200);
  for (std::int64_t i = 0; i < 200; ++i) {
    const MadeSample expected = made_sample(i, GetParam());
    EXPECT_EQ(read_sample(reader, corpus, i), tokens_of(expected)) << i;
    EXPECT_EQ(corpus.index.stratum[static_cast<std::size_t>(i)], expected.stratum);
    EXPECT_EQ(corpus.index.instruction_length[static_cast<std::size_t>(i)], expected.instruction.size());
  }
}

INSTANTIATE_TEST_SUITE_P(NarrowAndWideTokens, CorpusTest, testing::Values(300, 65536, 70000));

TEST_F(CorpusTest, HeaderAndTotalsComeBack) {
  const CorpusInfo written = write_made_corpus(*serial_, scratch_.path(), 100, 300, 200);

  const CorpusInfo info = read_corpus_info(scratch_.path());

  EXPECT_EQ(info.tokenizer_json, made_header(300).tokenizer_json);
  EXPECT_EQ(info.tokenizer_digest, digest_text(info.tokenizer_json));
  EXPECT_EQ(info.options, "context=4096\n");
  EXPECT_EQ(info.context, 4096);
  EXPECT_EQ(info.ids.condition_synth, 7);
  EXPECT_EQ(info.corpus_digest, written.corpus_digest);
  EXPECT_EQ(info.n_tokens, written.n_tokens);
  EXPECT_EQ(info.shards.size(), written.shards.size());
  ASSERT_EQ(info.strata.size(), 3U);
  EXPECT_EQ(info.strata[1].name, "wordnet/nouns");
  EXPECT_EQ(info.strata[0].n_samples, 34);
  EXPECT_EQ(info.strata[0].n_tokens + info.strata[1].n_tokens + info.strata[2].n_tokens, info.n_tokens);
}

TEST_F(CorpusTest, ShardsEndBeforeTheSampleThatWouldNotFit) {
  const CorpusInfo info = write_made_corpus(*serial_, scratch_.path(), 200, 300, 100);

  std::int64_t sample = 0;
  for (const ShardInfo& shard : info.shards) {
    EXPECT_LE(shard.n_tokens, 100);
    sample += shard.n_samples;
    if (sample < 200) {
      EXPECT_GT(shard.n_tokens + static_cast<std::int64_t>(tokens_of(made_sample(sample, 300)).size()), 100);
    }
  }
  EXPECT_EQ(sample, 200);
}

TEST_F(CorpusTest, BytesDoNotDependOnRounds) {
  write_made_corpus(*serial_, scratch_ / "a", 120, 300, 150, 50);
  write_made_corpus(*serial_, scratch_ / "b", 120, 300, 150, 7);

  for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "a")) {
    EXPECT_EQ(file_bytes(entry.path()), file_bytes(scratch_ / "b" / entry.path().filename())) << entry.path();
  }
}

TEST_F(CorpusTest, SampleLongerThanAShardGetsItsOwn) {
  const CorpusInfo info = write_made_corpus(*serial_, scratch_.path(), 20, 300, 1);

  EXPECT_EQ(info.shards.size(), 20U);
}

TEST_F(CorpusTest, NothingIsLeftOfAnUnfinishedCorpus) {
  {
    ShardSetWriter writer(*serial_, scratch_.path(), made_header(300), 1);
    const MadeSample sample = made_sample(0, 300);
    const std::vector<Sample> views(3, sample.view());
    writer.append(views);
  }

  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path()));
}

TEST_F(CorpusTest, FolderWithACorpusIsNotOverwritten) {
  write_made_corpus(*serial_, scratch_.path(), 10, 300, 100);

  expect_error(ExitCode::cannot_create, "already holds a corpus",
               [&] { write_made_corpus(*serial_, scratch_.path(), 10, 300, 100); });
}

TEST_F(CorpusTest, ReplacingLeavesOnlyTheNewShards) {
  write_made_corpus(*serial_, scratch_.path(), 30, 300, 20);
  ShardSetWriter writer(*serial_, scratch_.path(), made_header(300), 1000, true);
  const MadeSample sample = made_sample(0, 300);
  const std::vector<Sample> views(3, sample.view());

  writer.append(views);
  writer.finish(made_strata);

  EXPECT_EQ(open_corpus(*serial_, scratch_.path()).index.n_samples(), 3);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "shard-00001.h5"));
}

TEST_F(CorpusTest, ShardsThatNoCorpusListsAreRemoved) {
  overwrite(scratch_ / "shard-00007.h5", "of a crash while an earlier corpus was published");

  write_made_corpus(*serial_, scratch_.path(), 10, 300, 1000);

  EXPECT_FALSE(std::filesystem::exists(scratch_ / "shard-00007.h5"));
  EXPECT_TRUE(std::filesystem::exists(scratch_ / "shard-00000.h5"));
}

TEST_F(CorpusTest, UnwritableFolderIsRefused) {
  overwrite(scratch_ / "file", "in the way");

  expect_error(ExitCode::cannot_create, "cannot make this folder",
               [&] { write_made_corpus(*serial_, scratch_ / "file", 1, 300, 100); });
}

TEST_F(CorpusTest, TooLittleRoomIsRefusedAtStart) {
  expect_error(ExitCode::cannot_create, "free some space", [&] {
    ShardSetWriter(*serial_, scratch_.path(), made_header(300), 1000, false, std::int64_t{1} << 60);
  });
}

TEST_F(CorpusTest, EmptyCorpusIsRefused) {
  expect_error(ExitCode::bad_data, "no sample", [&] { write_made_corpus(*serial_, scratch_.path(), 0, 300, 100); });
}

TEST_F(CorpusTest, MissingCorpusIsMissingInput) {
  expect_error(ExitCode::no_input, "corpus.h5", [&] { open_corpus(*serial_, scratch_.path()); });
}

TEST_F(CorpusTest, MissingShardIsMissingInput) {
  write_made_corpus(*serial_, scratch_.path(), 30, 300, 100);
  std::filesystem::remove(scratch_ / "shard-00001.h5");

  expect_error(ExitCode::no_input, "shard-00001.h5", [&] { open_corpus(*serial_, scratch_.path()); });
}

TEST_F(CorpusTest, ShardOfAnotherCorpusIsRefused) {
  write_made_corpus(*serial_, scratch_ / "a", 30, 300, 100);
  write_made_corpus(*serial_, scratch_ / "b", 31, 300, 90);
  std::filesystem::copy_file(scratch_ / "b/shard-00000.h5", scratch_ / "a/shard-00000.h5",
                             std::filesystem::copy_options::overwrite_existing);

  expect_error(ExitCode::bad_data, "shard-00000.h5", [&] { open_corpus(*serial_, scratch_ / "a"); });
}

/// Changes a sealed shard through HDF5 and seals it again, corpus.h5 included: right digests, wrong content.
template <class Change>
void forge(comm::Communicator& group, const std::filesystem::path& folder, Change change) {
  CorpusInfo info = read_corpus_info(folder);
  const std::filesystem::path path = folder / info.shards[0].name;
  {
    h5::File file = h5::File::open_for_writing(path);
    change(file);
    file.close();
  }
  const UserBlock block = write_user_block(group, path);
  info.shards[0].bytes = block.length;
  info.shards[0].file_digest = block.digest;
  write_corpus_file(folder / corpus_file_name, info);
  write_user_block(group, folder / corpus_file_name);
}

TEST_F(CorpusTest, IndexThatPointsOutsideIsRefused) {
  write_made_corpus(*serial_, scratch_.path(), 5, 300, 1000);
  forge(*serial_, scratch_.path(), [](h5::File& file) {
    h5::Dataset offsets = file.open_dataset(offset_path);
    std::vector<std::uint64_t> values = offsets.read<std::uint64_t>();
    values[3] = ~std::uint64_t{0} - 2;
    offsets.write<std::uint64_t>(values);
  });

  expect_error(ExitCode::bad_data, "sample 3 points outside", [&] { open_corpus(*serial_, scratch_.path()); });
}

TEST_F(CorpusTest, TokenBeyondTheVocabularyIsRefused) {
  write_made_corpus(*serial_, scratch_.path(), 5, 300, 1000);
  forge(*serial_, scratch_.path(), [](h5::File& file) {
    h5::Dataset tokens = file.open_dataset(tokens_path);
    std::vector<std::uint16_t> values = tokens.read<std::uint16_t>();
    values[0] = 300;
    tokens.write<std::uint16_t>(values);
  });
  const Corpus corpus = open_corpus(*serial_, scratch_.path());
  TokenReader reader(std::make_shared<TokenFiles>(*serial_, corpus.info));

  expect_error(ExitCode::bad_data, "beyond the vocabulary", [&] { read_sample(reader, corpus, 0); });
}

TEST_F(CorpusTest, WrongAttributeIsRefused) {
  write_made_corpus(*serial_, scratch_.path(), 5, 300, 1000);
  forge(*serial_, scratch_.path(), [](h5::File& file) { file.set_attribute("id_pad", std::int64_t{12}); });

  expect_error(ExitCode::bad_data, "id_pad differs", [&] { open_corpus(*serial_, scratch_.path()); });
}

TEST_F(CorpusTest, NewerFormatIsRefused) {
  write_made_corpus(*serial_, scratch_.path(), 5, 300, 1000);
  forge(*serial_, scratch_.path(), [](h5::File& file) { file.set_attribute("format_version", std::int64_t{2}); });

  expect_error(ExitCode::bad_data, "format version 2", [&] { open_corpus(*serial_, scratch_.path()); });
}

TEST_F(CorpusTest, ReaderTakesManyRangesInAnyOrder) {
  write_made_corpus(*serial_, scratch_.path(), 100, 300, 150);
  const Corpus corpus = open_corpus(*serial_, scratch_.path());
  std::vector<TokenRange> ranges;
  std::vector<std::vector<std::int32_t>> tokens;
  for (std::int64_t i = 99; i >= 0; --i) {
    tokens.push_back(std::vector<std::int32_t>(tokens_of(made_sample(i, 300)).size()));
  }
  for (std::int64_t i = 99; i >= 0; --i) {
    std::vector<std::int32_t>& own = tokens[static_cast<std::size_t>(99 - i)];
    ranges.push_back({corpus.index.shard_of(i),
                      static_cast<std::int64_t>(corpus.index.offset[static_cast<std::size_t>(i)]),
                      static_cast<std::int64_t>(own.size()), own.data()});
  }
  ranges.push_back(ranges.front());  // a sample that is drawn twice

  TokenReader reader(std::make_shared<TokenFiles>(*serial_, corpus.info));
  reader.start(ranges);
  reader.finish();

  for (std::int64_t i = 99; i >= 0; --i) {
    EXPECT_EQ(tokens[static_cast<std::size_t>(99 - i)], tokens_of(made_sample(i, 300)));
  }
}

TEST_F(CorpusTest, StoredDigestsAreThoseOfTheData) {
  write_made_corpus(*serial_, scratch_.path(), 40, 300, 1000);
  const h5::File file = h5::File::open(scratch_ / "shard-00000.h5");

  const std::vector<std::uint16_t> tokens = file.open_dataset(tokens_path).read<std::uint16_t>();

  EXPECT_EQ(read_integrity(file).at(tokens_path), digest(std::span<const std::uint16_t>(tokens)));
}

}  // namespace
}  // namespace hrm::io
