#pragma once
// Small corpora and checkpoints for the tests of io, and a folder that goes away.
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "comm/communicator.hpp"
#include "io/checkpoint_writer.hpp"
#include "io/shard_writer.hpp"

namespace hrm::io {

/// A fresh folder, removed at the end of the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "hrm-io-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Sample `i` of a made-up corpus: a function of i alone.
struct MadeSample {
  std::vector<std::uint32_t> instruction;
  std::vector<std::uint32_t> response;
  std::uint16_t stratum;
  Sample view() const { return {instruction, response, stratum}; }
};

inline MadeSample made_sample(std::int64_t i, std::int64_t vocab_size) {
  const RandomStream numbers(7, RandomPurpose::demo, static_cast<std::uint32_t>(i));
  MadeSample sample;
  sample.instruction.resize(1 + numbers.below(0, 9));
  sample.response.resize(1 + numbers.below(1, 6));
  std::uint64_t at = 2;
  for (auto* part : {&sample.instruction, &sample.response}) {
    for (std::uint32_t& token : *part) {
      token = static_cast<std::uint32_t>(numbers.below(at++, static_cast<std::uint64_t>(vocab_size)));
    }
  }
  sample.stratum = static_cast<std::uint16_t>(i % 3);
  return sample;
}

inline CorpusHeader made_header(std::int64_t vocab_size) {
  CorpusHeader header;
  header.vocab_size = vocab_size;
  header.ids = {0, 1, 2, 3, 4, 5, 6, 7};
  header.context = 4096;
  header.tokenizer_json = "{\"model\": \"made up, with an umlaut: \xC3\xA4\"}";
  header.options = "context=4096\n";
  return header;
}

inline const std::vector<std::string> made_strata = {"arithmetic", "wordnet/nouns", "s\xC3\xBC\xC3\x9F"};

/// Writes `count` samples with all ranks: each round is `per_round` samples, cut into one stretch per rank.
inline CorpusInfo write_made_corpus(comm::Communicator& group, const std::filesystem::path& folder, std::int64_t count,
                                    std::int64_t vocab_size, std::int64_t tokens_per_shard,
                                    std::int64_t per_round = 50) {
  ShardSetWriter writer(group, folder, made_header(vocab_size), tokens_per_shard);
  for (std::int64_t round = 0; round < count; round += per_round) {
    const std::int64_t size = std::min(per_round, count - round);
    std::vector<MadeSample> mine;
    for (std::int64_t i = size * group.rank() / group.size(); i < size * (group.rank() + 1) / group.size(); ++i) {
      mine.push_back(made_sample(round + i, vocab_size));
    }
    std::vector<Sample> views;
    for (const MadeSample& sample : mine) {
      views.push_back(sample.view());
    }
    writer.append(views);
  }
  return writer.finish(made_strata);
}

/// The size that this process may give files, set back at the end.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

/// Memory that can be handed to the system but not read: writing it into a file fails.
class Unreadable {
 public:
  Unreadable() : data_(::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {}
  Unreadable(const Unreadable&) = delete;
  Unreadable& operator=(const Unreadable&) = delete;
  ~Unreadable() { ::munmap(data_, size); }
  const float* data() const { return static_cast<const float*>(data_); }

 private:
  static constexpr std::size_t size = std::size_t{1} << 20;
  void* data_;
};

/// A checkpoint's content with values that are a function of (tensor, element).
struct MadeState {
  std::vector<std::string> paths;
  std::vector<std::vector<std::int64_t>> shapes;
  std::vector<std::vector<float>> values;
  CheckpointMeta meta;

  /// This rank's share of every tensor.
  std::vector<TensorPart> parts(int rank, int size) const {
    std::vector<TensorPart> list;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const auto count = static_cast<std::int64_t>(values[i].size());
      const std::int64_t first = count * rank / size;
      const std::int64_t step = paths[i].starts_with("/optimizer") ? 41 : -1;
      list.push_back({paths[i],
                      {shapes[i], TensorSplit::none, 1, {}},
                      first,
                      count * (rank + 1) / size - first,
                      values[i].data() + first,
                      step});
    }
    return list;
  }
};

inline MadeState made_state(std::int64_t step) {
  MadeState state;
  for (const char* name : {"embed_tokens", "H.layers.0.o"}) {
    for (const char* root : {"/model/", "/optimizer/exp_avg/", "/optimizer/exp_avg_sq/", "/ema/"}) {
      state.paths.push_back(std::string(root) + name);
      state.shapes.push_back({17, 9});
    }
  }
  state.paths.emplace_back("/model/zL_init");
  state.shapes.push_back({9});
  for (std::size_t i = 0; i < state.paths.size(); ++i) {
    std::int64_t count = 1;
    for (const std::int64_t extent : state.shapes[i]) {
      count *= extent;
    }
    const RandomStream numbers(static_cast<std::uint64_t>(step), RandomPurpose::demo, static_cast<std::uint32_t>(i));
    for (std::int64_t j = 0; j < count; ++j) {
      state.values.resize(i + 1);
      state.values[i].push_back(static_cast<float>(numbers.normal(static_cast<std::uint64_t>(j))));
    }
  }
  state.meta.step = step;
  state.meta.planned_steps = 100;
  state.meta.seed = 3;
  state.meta.learning_rate = 1e-3;
  state.meta.precision = "bf16";
  state.meta.corpus_digest = 0xFEDCBA9876543210ULL;
  state.meta.fingerprint = "build 1\nAVX2";
  state.meta.config_text = "[model]\nlayers = 4\n";
  state.meta.tokenizer_json = "{}";
  state.meta.products = "1 2 3\n4 5 6\n";
  state.meta.sampling = {{"cursor", {5, 0, 7}}};
  state.meta.guard = {{"loss", {3.5, 3.25}}, {"gradient_norm", {}}};
  state.meta.skipped_packs = {9, 11};
  return state;
}

/// Place in the whole tensor of element `element` of a slice: index by index, not by runs.
inline std::int64_t place_in_tensor(const TensorSlice& slice, std::int64_t element) {
  if (slice.split == TensorSplit::none) {
    return element;
  }
  const std::int64_t rows = slice.logical_shape[0];
  const std::int64_t columns = slice.logical_shape[1];
  const TensorPlace place = slice.place;
  if (slice.split == TensorSplit::columns) {
    const std::int64_t held = columns / place.size;
    return element / held * columns + place.rank * held + element % held;
  }
  const std::int64_t blocks = slice.split == TensorSplit::row_blocks ? slice.blocks : 1;
  const std::int64_t held = rows / blocks / place.size;
  const std::int64_t row = element / columns;
  return (row / held * (rows / blocks) + place.rank * held + row % held) * columns + element % columns;
}

/// The elements of a slice of a tensor.
inline std::vector<float> slice_values(const TensorSlice& slice, const std::vector<float>& whole) {
  const int cuts = slice.split == TensorSplit::none ? 1 : slice.place.size;
  std::vector<float> values(whole.size() / static_cast<std::size_t>(cuts));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = whole[static_cast<std::size_t>(place_in_tensor(slice, static_cast<std::int64_t>(i)))];
  }
  return values;
}

inline std::string file_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline void overwrite(const std::filesystem::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace hrm::io
