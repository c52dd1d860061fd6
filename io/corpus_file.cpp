#include "io/corpus_file.hpp"

#include <vector>

#include "base/error.hpp"
#include "io/format.hpp"
#include "io/integrity.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

/// One column of a list of structs.
template <class Row, class Value>
std::vector<Value> column(const std::vector<Row>& rows, Value Row::*member) {
  std::vector<Value> values;
  values.reserve(rows.size());
  for (const Row& row : rows) {
    values.push_back(row.*member);
  }
  return values;
}

template <class Row, class Value>
void write_column(h5::File& file, const std::string& path, const std::vector<Row>& rows, Value Row::*member) {
  const std::vector<Value> values = column(rows, member);
  if constexpr (std::is_same_v<Value, std::string>) {
    file.write_strings(path, values);
  } else {
    file.write_array<Value>(path, values);
  }
}

template <class Row, class Value>
void read_column(const h5::File& file, const std::string& path, std::vector<Row>& rows, Value Row::*member) {
  std::vector<Value> values;
  if constexpr (std::is_same_v<Value, std::string>) {
    values = file.open_dataset(path, h5::Type::string, 1).read_strings();
  } else {
    values = file.open_dataset(path, h5::type_of<Value>(), 1).template read<Value>();
  }
  if (rows.empty()) {
    rows.resize(values.size());
  }
  if (rows.size() != values.size()) {
    fail(ExitCode::bad_data, "{}: {} has {} entries, expected {}; prepare the corpus again", file.file(), path,
         values.size(), rows.size());
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].*member = values[i];
  }
}

[[noreturn]] void disagree(const h5::File& file, const std::string& what) {
  fail(ExitCode::bad_data, "{}: {} differs from corpus.h5; prepare the corpus again", file.file(), what);
}

void check_attributes(const h5::File& file, const CorpusInfo& info, const ShardInfo& shard) {
  const std::pair<const char*, std::int64_t> expected[] = {
      {"vocab_size", info.vocab_size}, {"n_samples", shard.n_samples}, {"n_tokens", shard.n_tokens}};
  for (const auto& [name, value] : expected) {
    if (file.int64_attribute(name) != value) {
      disagree(file, name);
    }
  }
  if (file.uint64_attribute("tokenizer_digest") != info.tokenizer_digest) {
    disagree(file, "tokenizer_digest");
  }
  const SpecialIds ids = read_special_ids(file);
  for (const auto& [name, member] : special_id_attributes) {
    if (ids.*member != info.ids.*member) {
      disagree(file, name);
    }
  }
}

/// What the shards themselves cannot contradict.
void check_info(const h5::File& file, const CorpusInfo& info) {
  if (info.vocab_size < 1 || info.context < 1) {
    fail(ExitCode::bad_data, "{}: vocab_size or context is no positive number; prepare the corpus again", file.file());
  }
  for (const ShardInfo& shard : info.shards) {
    if (shard.name.find('/') != std::string::npos) {
      fail(ExitCode::bad_data, "{}: the shard {} lies outside the folder; prepare the corpus again", file.file(),
           shard.name);
    }
  }
}

void check_shape(const h5::File& file, const char* path, h5::Type type, std::int64_t count) {
  const h5::Dataset dataset = file.open_dataset(path, type, 1);
  if (dataset.count() != count) {
    fail(ExitCode::bad_data, "{}: {} has {} elements, expected {}; prepare the corpus again", file.file(), path,
         dataset.count(), count);
  }
}

}  // namespace

h5::Type token_type(std::int64_t vocab_size) {
  return vocab_size <= 65536 ? h5::Type::uint16 : h5::Type::uint32;
}

std::string shard_name(std::int64_t number) {
  return fmt::format("shard-{:05d}.h5", number);
}

void write_special_ids(h5::File& file, const SpecialIds& ids) {
  for (const auto& [name, member] : special_id_attributes) {
    file.set_attribute(name, ids.*member);
  }
}

SpecialIds read_special_ids(const h5::File& file) {
  SpecialIds ids;
  for (const auto& [name, member] : special_id_attributes) {
    ids.*member = file.int64_attribute(name);
  }
  return ids;
}

void write_corpus_file(const std::filesystem::path& path, const CorpusInfo& info) {
  h5::File file = h5::File::create(path);
  write_format(file, corpus_format);
  file.set_attribute("vocab_size", info.vocab_size);
  file.set_attribute("n_samples", info.n_samples);
  file.set_attribute("n_tokens", info.n_tokens);
  file.set_attribute("n_shards", static_cast<std::int64_t>(info.shards.size()));
  file.set_attribute("context", info.context);
  file.set_attribute("tokenizer_digest", info.tokenizer_digest);
  file.set_attribute("corpus_digest", info.corpus_digest);
  write_special_ids(file, info.ids);
  write_column(file, "/shards/name", info.shards, &ShardInfo::name);
  write_column(file, "/shards/bytes", info.shards, &ShardInfo::bytes);
  write_column(file, "/shards/n_samples", info.shards, &ShardInfo::n_samples);
  write_column(file, "/shards/n_tokens", info.shards, &ShardInfo::n_tokens);
  write_column(file, "/shards/file_digest", info.shards, &ShardInfo::file_digest);
  write_column(file, "/strata/name", info.strata, &StratumTotals::name);
  write_column(file, "/strata/n_samples", info.strata, &StratumTotals::n_samples);
  write_column(file, "/strata/n_tokens", info.strata, &StratumTotals::n_tokens);
  file.write_text("/tokenizer", info.tokenizer_json);
  file.write_text("/options", info.options);
  write_integrity(file, all_digests(file));
  file.close();
}

CorpusInfo read_corpus_info(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / corpus_file_name;
  if (!std::filesystem::exists(path)) {
    fail(ExitCode::no_input, "{}: no corpus here ({} is missing); make one with hrm prepare", folder.string(),
         corpus_file_name);
  }
  verify_user_block(path);
  const h5::File file = h5::File::open(path);
  check_format(file, corpus_format);
  CorpusInfo info;
  info.folder = folder;
  info.vocab_size = file.int64_attribute("vocab_size");
  info.n_samples = file.int64_attribute("n_samples");
  info.n_tokens = file.int64_attribute("n_tokens");
  info.context = file.int64_attribute("context");
  info.tokenizer_digest = file.uint64_attribute("tokenizer_digest");
  info.corpus_digest = file.uint64_attribute("corpus_digest");
  info.ids = read_special_ids(file);
  read_column(file, "/shards/name", info.shards, &ShardInfo::name);
  read_column(file, "/shards/bytes", info.shards, &ShardInfo::bytes);
  read_column(file, "/shards/n_samples", info.shards, &ShardInfo::n_samples);
  read_column(file, "/shards/n_tokens", info.shards, &ShardInfo::n_tokens);
  read_column(file, "/shards/file_digest", info.shards, &ShardInfo::file_digest);
  read_column(file, "/strata/name", info.strata, &StratumTotals::name);
  read_column(file, "/strata/n_samples", info.strata, &StratumTotals::n_samples);
  read_column(file, "/strata/n_tokens", info.strata, &StratumTotals::n_tokens);
  info.tokenizer_json = file.read_text("/tokenizer");
  info.options = file.read_text("/options");
  check_info(file, info);
  return info;
}

h5::File open_shard(const CorpusInfo& info, const ShardInfo& shard) {
  h5::File file = h5::File::open(info.folder / shard.name);
  check_format(file, shard_format);
  check_attributes(file, info, shard);
  check_shape(file, tokens_path, token_type(info.vocab_size), shard.n_tokens);
  check_shape(file, offset_path, h5::Type::uint64, shard.n_samples);
  check_shape(file, instruction_length_path, h5::Type::uint32, shard.n_samples);
  check_shape(file, response_length_path, h5::Type::uint32, shard.n_samples);
  check_shape(file, stratum_path, h5::Type::uint16, shard.n_samples);
  if (file.open_dataset(strata_path, h5::Type::string, 1).read_strings() != column(info.strata, &StratumTotals::name)) {
    disagree(file, strata_path);
  }
  return file;
}

}  // namespace hrm::io
