// corpus.h5 or a shard whose digest is right and whose contents are not what the writer would have written. The first
// byte chooses the file.
#include "fuzz.hpp"
#include "hdf5_edits.hpp"
#include "io/inspect.hpp"
#include "io/token_reader.hpp"
#include "io/user_block.hpp"
#include "tests/io/io_samples.hpp"

namespace hrm::fuzz {
namespace {

/// A folder of two shards, and the bytes of its files.
struct GoodCorpus {
  std::filesystem::path folder = scratch() / "shards";
  std::vector<std::pair<std::filesystem::path, std::string>> files;

  GoodCorpus() {
    const auto alone = comm::serial_communicator();
    io::write_made_corpus(*alone, folder, 30, 300, 200);
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      files.emplace_back(entry.path(), io::file_bytes(entry.path()));
    }
    std::sort(files.begin(), files.end());
  }
  void restore() const {
    for (const auto& [path, bytes] : files) {
      write_file(path, bytes);
    }
  }
};

/// What corpus.h5 would say if it had been written with the shards as they are now.
void take_over_shards(io::CorpusInfo& info) {
  for (io::ShardInfo& shard : info.shards) {
    const io::UserBlock block = io::read_user_block(info.folder / shard.name);
    shard.bytes = block.length;
    shard.file_digest = block.digest;
  }
}

void samples_can_be_read(const io::CorpusInfo& info, const io::CorpusIndex& index) {
  const auto alone = comm::serial_communicator();
  io::TokenReader reader(std::make_shared<const io::TokenFiles>(*alone, info));
  for (std::int64_t sample = 0; sample < index.n_samples(); ++sample) {
    const auto at = static_cast<std::size_t>(sample);
    const std::int64_t shard = index.shard_of(sample);
    const std::int64_t length = std::int64_t{index.instruction_length[at]} + index.response_length[at];
    const auto n_tokens = static_cast<std::uint64_t>(info.shards[static_cast<std::size_t>(shard)].n_tokens);
    require(index.offset[at] + static_cast<std::uint64_t>(length) <= n_tokens, "a sample lies inside its shard");
    require(index.stratum[at] < info.strata.size(), "a sample's stratum is known");
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(length));
    const io::TokenRange range{shard, static_cast<std::int64_t>(index.offset[at]), length, tokens.data()};
    reader.start(std::span(&range, 1));
    reader.finish();
    for (const std::int32_t token : tokens) {
      require(token >= 0 && token < info.vocab_size, "a token is in the vocabulary");
    }
  }
}

}  // namespace
}  // namespace hrm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace hrm;
  static const fuzz::GoodCorpus good;
  if (size < 2) {
    return 0;
  }
  good.restore();
  const std::filesystem::path path = good.files[data[0] % good.files.size()].first;
  FuzzedDataProvider changes(data + 1, size - 1);
  fuzz::edit(path, changes);
  io::seal_user_block(path, io::file_digest_part(path, 0, 1));
  fuzz::accepted([&] {
    io::CorpusInfo info = io::read_corpus_info(good.folder);
    fuzz::take_over_shards(info);
    fuzz::samples_can_be_read(info, io::read_corpus_index(info));
  });
  const auto alone = comm::serial_communicator();
  fuzz::accepted([&] { io::open_corpus(*alone, good.folder); });
  fuzz::accepted([&] { io::describe(path); });
  fuzz::accepted([&] { io::verify_file(path); });
  return 0;
}
