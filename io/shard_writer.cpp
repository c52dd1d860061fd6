#include "io/shard_writer.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "io/corpus_file.hpp"
#include "io/disk.hpp"
#include "io/format.hpp"
#include "io/integrity.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

constexpr const char* temporary_tag = "prepare";

/// Columns of a shard in the order in which they are created.
enum Column : std::size_t { tokens, offset, instruction_length, response_length, stratum, column_count };
constexpr std::array<const char*, column_count> column_paths = {tokens_path, offset_path, instruction_length_path,
                                                                response_length_path, stratum_path};

/// A contiguous stretch of a shard that this rank holds in memory.
struct Piece {
  std::int64_t first_token = 0;
  std::int64_t first_sample = 0;
  std::vector<std::byte> tokens;  // in the width on disk
  std::vector<std::uint64_t> offset;
  std::vector<std::uint32_t> instruction_length;
  std::vector<std::uint32_t> response_length;
  std::vector<std::uint16_t> stratum;
};

/// A shard whose tokens and index are on disk, under its temporary name.
struct ClosedShard {
  ShardInfo info;
  std::array<std::uint64_t, column_count> digests{};
};

bool is_shard_name(const std::string& name) {
  return name.starts_with("shard-") && name.ends_with(".h5");
}

bool is_leftover(const std::string& name) {
  return (name.starts_with(".shard-") || name.starts_with(".corpus.h5.")) && name.ends_with(".tmp");
}

/// Removes the files of `folder` that `choose` picks by name.
template <class Choose>
void remove_files(const std::filesystem::path& folder, Choose choose) {
  std::error_code ignored;  // what cannot be removed is met again when it is in the way
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (choose(entry.path().filename().string())) {
      std::filesystem::remove(entry.path(), ignored);
    }
  }
}

/// Writes this rank's parts of the columns into a shard's file and adds up their digests.
class ColumnWriter {
 public:
  ColumnWriter(RawFile& file, std::span<const std::int64_t> offsets, std::span<std::uint64_t> digests)
      : file_(file), offsets_(offsets), digests_(digests) {}

  void write(Column column, std::span<const std::byte> data, std::size_t element_bytes, std::int64_t first) {
    file_.write_at(offsets_[column] + first * static_cast<std::int64_t>(element_bytes), data);
    digests_[column] +=
        digest_elements(data.data(), data.size() / element_bytes, element_bytes, static_cast<std::uint64_t>(first));
  }
  template <class T>
  void write(Column column, const std::vector<T>& values, std::int64_t first) {
    write(column, std::as_bytes(std::span(values)), sizeof(T), first);
  }

 private:
  RawFile& file_;
  std::span<const std::int64_t> offsets_;
  std::span<std::uint64_t> digests_;
};

}  // namespace

struct ShardSetWriter::State {
  State(comm::Communicator& g, std::filesystem::path f, CorpusHeader h, std::int64_t limit, bool may_replace)
      : group(g), folder(std::move(f)), header(std::move(h)), tokens_per_shard(limit), replace(may_replace) {
    width = static_cast<std::int64_t>(h5::element_size(token_type(header.vocab_size)));
    tokenizer_digest = digest_text(header.tokenizer_json);
  }

  comm::Communicator& group;
  std::filesystem::path folder;
  CorpusHeader header;
  std::int64_t tokens_per_shard;
  bool replace;
  std::int64_t width;
  std::uint64_t tokenizer_digest;

  std::vector<Piece> pieces;      // this rank's part of the open shard
  std::int64_t shard_tokens = 0;  // of the open shard, all ranks
  std::int64_t shard_samples = 0;
  std::vector<ClosedShard> closed;
  std::vector<std::uint64_t> stratum_samples;  // this rank's, by stratum
  std::vector<std::uint64_t> stratum_tokens;
  bool finished = false;

  bool first_rank() const { return group.rank() == 0; }
  std::filesystem::path temporary(const std::string& name) const {
    return temporary_name(folder / name, temporary_tag);
  }
  void prepare_folder(std::int64_t expected_tokens);
  void check(const Sample& sample) const;
  void add(const Sample& sample);
  std::array<std::int64_t, column_count> create_shard(const ClosedShard& shard) const;
  void write_pieces(const std::filesystem::path& path, std::span<const std::int64_t> offsets,
                    std::span<std::uint64_t> digests) const;
  void close_shard();
  void seal(ClosedShard& shard, std::span<const std::string> strata);
  CorpusInfo totals(std::span<const std::string> strata);
  void publish_all(const CorpusInfo& info) const;
};

void ShardSetWriter::State::prepare_folder(std::int64_t expected_tokens) {
  make_folder(folder);
  if (!replace && std::filesystem::exists(folder / corpus_file_name)) {
    fail(ExitCode::cannot_create,
         "{}: already holds a corpus ({}); choose another folder, or write over it with --replace", folder.string(),
         corpus_file_name);
  }
  remove_files(folder, is_leftover);
  require_space(folder, expected_tokens * width, "the corpus");
}

void ShardSetWriter::State::check(const Sample& sample) const {
  ensure(!sample.instruction.empty() && !sample.response.empty(), "a sample has an empty part");
  for (const auto part : {sample.instruction, sample.response}) {
    for (const std::uint32_t token : part) {
      ensure(token < header.vocab_size, "a token lies beyond the vocabulary");
    }
  }
}

void ShardSetWriter::State::add(const Sample& sample) {
  Piece& piece = pieces.back();
  for (const auto part : {sample.instruction, sample.response}) {
    for (const std::uint32_t token : part) {
      const auto* low_bytes = reinterpret_cast<const std::byte*>(&token);
      piece.tokens.insert(piece.tokens.end(), low_bytes, low_bytes + width);
    }
  }
  piece.offset.push_back(static_cast<std::uint64_t>(shard_tokens));
  piece.instruction_length.push_back(static_cast<std::uint32_t>(sample.instruction.size()));
  piece.response_length.push_back(static_cast<std::uint32_t>(sample.response.size()));
  piece.stratum.push_back(sample.stratum);
  if (stratum_samples.size() <= sample.stratum) {
    stratum_samples.resize(sample.stratum + std::size_t{1});
    stratum_tokens.resize(sample.stratum + std::size_t{1});
  }
  stratum_samples[sample.stratum] += 1;
  stratum_tokens[sample.stratum] += sample.instruction.size() + sample.response.size();
}

/// Makes the shard's file with everything but the data; where each column's data go.
std::array<std::int64_t, column_count> ShardSetWriter::State::create_shard(const ClosedShard& shard) const {
  const std::filesystem::path path = temporary(shard.info.name);
  h5::File file = h5::File::create(path);
  write_format(file, shard_format);
  file.set_attribute("vocab_size", header.vocab_size);
  file.set_attribute("n_samples", shard.info.n_samples);
  file.set_attribute("n_tokens", shard.info.n_tokens);
  file.set_attribute("tokenizer_digest", tokenizer_digest);
  write_special_ids(file, header.ids);
  constexpr std::array<h5::Type, column_count> types = {h5::Type::uint16, h5::Type::uint64, h5::Type::uint32,
                                                        h5::Type::uint32, h5::Type::uint16};
  std::array<std::int64_t, column_count> offsets{};
  for (std::size_t i = 0; i < column_count; ++i) {
    const std::int64_t count[1] = {i == tokens ? shard.info.n_tokens : shard.info.n_samples};
    const h5::Type type = i == tokens ? token_type(header.vocab_size) : types[i];
    offsets[i] = file.create_dataset(column_paths[i], type, count).offset();
  }
  file.close();
  RawFile raw(path, RawFile::Mode::write);
  raw.reserve(raw.size());
  return offsets;
}

void ShardSetWriter::State::write_pieces(const std::filesystem::path& path, std::span<const std::int64_t> offsets,
                                         std::span<std::uint64_t> digests) const {
  RawFile file(path, RawFile::Mode::write);
  ColumnWriter writer(file, offsets, digests);
  for (const Piece& piece : pieces) {
    writer.write(tokens, piece.tokens, static_cast<std::size_t>(width), piece.first_token);
    writer.write(offset, piece.offset, piece.first_sample);
    writer.write(instruction_length, piece.instruction_length, piece.first_sample);
    writer.write(response_length, piece.response_length, piece.first_sample);
    writer.write(stratum, piece.stratum, piece.first_sample);
  }
  file.sync();
}

/// Puts the open shard on disk under its temporary name. Collective.
void ShardSetWriter::State::close_shard() {
  ClosedShard shard;
  shard.info.name = shard_name(static_cast<std::int64_t>(closed.size()));
  shard.info.n_samples = shard_samples;
  shard.info.n_tokens = shard_tokens;
  closed.push_back(shard);  // listed before it is made, so that a failure removes it
  std::array<std::int64_t, column_count> offsets{};
  comm::together(group, [&] {
    if (first_rank()) {
      offsets = create_shard(shard);
    }
  });
  group.broadcast(std::as_writable_bytes(std::span(offsets)), 0);
  comm::together(group, [&] { write_pieces(temporary(shard.info.name), offsets, closed.back().digests); });
  group.sum(std::span(closed.back().digests));
  pieces.clear();
  shard_tokens = 0;
  shard_samples = 0;
}

/// Adds /strata and /integrity and the user block. Collective.
void ShardSetWriter::State::seal(ClosedShard& shard, std::span<const std::string> strata) {
  const std::filesystem::path path = temporary(shard.info.name);
  comm::together(group, [&] {
    if (first_rank()) {
      h5::File file = h5::File::open_for_writing(path);
      file.write_strings(strata_path, strata);
      DatasetDigests known;
      for (std::size_t i = 0; i < column_count; ++i) {
        known[column_paths[i]] = shard.digests[i];
      }
      write_integrity(file, all_digests(file, known));
      file.close();
    }
  });
  const UserBlock block = write_user_block(group, path);
  shard.info.bytes = block.length;
  shard.info.file_digest = block.digest;
}

/// Content of corpus.h5. Collective.
CorpusInfo ShardSetWriter::State::totals(std::span<const std::string> strata) {
  CorpusInfo info;
  info.folder = folder;
  info.vocab_size = header.vocab_size;
  info.ids = header.ids;
  info.context = header.context;
  info.tokenizer_digest = tokenizer_digest;
  info.tokenizer_json = header.tokenizer_json;
  info.options = header.options;
  const std::string names = [&] {
    std::string ended;
    for (const std::string& name : strata) {
      ended += name + '\0';
    }
    return ended;
  }();
  const std::uint64_t strata_digest = digest_text(names);
  for (const ClosedShard& shard : closed) {
    info.shards.push_back(shard.info);
    info.n_samples += shard.info.n_samples;
    info.n_tokens += shard.info.n_tokens;
    for (const std::uint64_t digest : shard.digests) {
      info.corpus_digest = splitmix64(info.corpus_digest ^ digest);
    }
    info.corpus_digest = splitmix64(info.corpus_digest ^ strata_digest);
  }
  group.sum(std::span(stratum_samples));
  group.sum(std::span(stratum_tokens));
  for (std::size_t i = 0; i < strata.size(); ++i) {
    info.strata.push_back(
        {strata[i], static_cast<std::int64_t>(stratum_samples[i]), static_cast<std::int64_t>(stratum_tokens[i])});
  }
  return info;
}

/// The old corpus, if any, ends with the removal of its corpus.h5; the new one begins with the renaming of its own.
/// Shards that no corpus.h5 lists are what a crash in here has left.
void ShardSetWriter::State::publish_all(const CorpusInfo& info) const {
  std::error_code ignored;
  if (std::filesystem::remove(folder / corpus_file_name, ignored)) {
    sync_folder(folder);
  }
  remove_files(folder, is_shard_name);
  for (const ShardInfo& shard : info.shards) {
    publish(temporary(shard.name), folder / shard.name);
  }
  publish(temporary(corpus_file_name), folder / corpus_file_name);
}

ShardSetWriter::ShardSetWriter(comm::Communicator& group, std::filesystem::path folder, CorpusHeader header,
                               std::int64_t tokens_per_shard, bool replace, std::int64_t expected_tokens)
    : state_(std::make_unique<State>(group, std::move(folder), std::move(header), tokens_per_shard, replace)) {
  ensure(tokens_per_shard > 0, "ShardSetWriter: tokens_per_shard must be positive");
  comm::together(group, [&] {
    if (group.rank() == 0) {
      state_->prepare_folder(expected_tokens);
    }
  });
}

ShardSetWriter::~ShardSetWriter() {
  if (!state_->finished && state_->first_rank()) {
    remove_files(state_->folder, is_leftover);
  }
}

void ShardSetWriter::append(std::span<const Sample> mine) {
  State& state = *state_;
  std::vector<std::uint32_t> lengths;
  comm::together(state.group, [&] {
    for (const Sample& sample : mine) {
      state.check(sample);
      lengths.push_back(static_cast<std::uint32_t>(sample.instruction.size() + sample.response.size()));
    }
  });
  const std::string bytes(reinterpret_cast<const char*>(lengths.data()), lengths.size() * sizeof(std::uint32_t));
  const std::vector<std::string> all = state.group.gather(bytes);
  for (int rank = 0; rank < state.group.size(); ++rank) {
    const std::string& theirs = all[static_cast<std::size_t>(rank)];
    bool piece_open = false;
    for (std::size_t i = 0; i * sizeof(std::uint32_t) < theirs.size(); ++i) {
      std::uint32_t length = 0;
      std::memcpy(&length, theirs.data() + i * sizeof length, sizeof length);
      if (state.shard_samples > 0 && state.shard_tokens + length > state.tokens_per_shard) {
        state.close_shard();
        piece_open = false;
      }
      if (rank == state.group.rank()) {
        if (!piece_open) {
          state.pieces.push_back({state.shard_tokens, state.shard_samples, {}, {}, {}, {}, {}});
          piece_open = true;
        }
        state.add(mine[i]);
      }
      state.shard_tokens += length;
      state.shard_samples += 1;
    }
  }
}

CorpusInfo ShardSetWriter::finish(std::span<const std::string> strata) {
  State& state = *state_;
  if (state.shard_samples > 0) {
    state.close_shard();
  }
  if (state.closed.empty()) {
    fail(ExitCode::bad_data, "{}: no sample is left to write; check the input", state.folder.string());
  }
  comm::together(state.group, [&] {
    ensure(state.stratum_samples.size() <= strata.size() && strata.size() <= 65536,
           "strata names do not cover all strata");
  });
  state.stratum_samples.resize(strata.size());
  state.stratum_tokens.resize(strata.size());
  for (ClosedShard& shard : state.closed) {
    state.seal(shard, strata);
  }
  CorpusInfo info = state.totals(strata);
  comm::together(state.group, [&] {
    if (state.first_rank()) {
      write_corpus_file(state.temporary(corpus_file_name), info);
    }
  });
  write_user_block(state.group, state.temporary(corpus_file_name));
  comm::together(state.group, [&] {
    if (state.first_rank()) {
      state.publish_all(info);
    }
  });
  state.finished = true;
  return info;
}

}  // namespace hrm::io
