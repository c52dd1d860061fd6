#include "text/prepare.hpp"

#include <omp.h>

#include <algorithm>
#include <array>
#include <exception>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/error.hpp"
#include "base/utf8.hpp"
#include "io/disk.hpp"
#include "io/jsonl.hpp"
#include "io/jsonl_share.hpp"

namespace hrm::text {
namespace {

/// Samples of consecutive lines, made by one thread.
struct Slice {
  struct Row {
    std::size_t first;  // in tokens
    std::uint32_t instruction_length;
    std::uint32_t response_length;
    std::size_t source;  // in sources
  };
  std::vector<std::uint32_t> tokens;
  std::vector<Row> rows;
  std::vector<std::string> sources;  // in the order of their first row
  std::unordered_map<std::string, std::size_t> source_index;
  PrepareCounts counts;
  std::exception_ptr failure;  // of the first bad line; the lines behind it were not looked at

  std::size_t index_of(const std::string& source) {
    const auto [place, added] = source_index.emplace(source, sources.size());
    if (added) {
      sources.push_back(source);
    }
    return place->second;
  }
};

struct Line {
  std::string_view text;
  std::int64_t number;
};

std::vector<Line> lines_of(const io::LineBlock& block) {
  std::vector<Line> lines;
  const std::string_view text = block.text;
  std::int64_t number = block.first_line;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1);
    const std::string_view line = text.substr(at, end + 1 - at);
    if (!io::is_blank(line)) {
      lines.push_back({line, number});
    }
    at = end + 1;
  }
  return lines;
}

void add_line(const SampleMaker& maker, const Line& line, const std::string& file, const std::string& stratum,
              Slice& slice) {
  const std::size_t first = slice.tokens.size();
  ++slice.counts.lines;
  const SampleMaker::Made made = maker.make(line.text, fmt::format("{}:{}", file, line.number), slice.tokens);
  if (made.response_length == 0) {
    ++slice.counts.dropped;
    return;
  }
  slice.counts.truncated += made.truncated;
  slice.rows.push_back(
      {first, made.instruction_length, made.response_length, slice.index_of(made.source.value_or(stratum))});
}

/// The lines of one file's block as samples, one slice per thread.
class BlockTokenizer {
 public:
  BlockTokenizer(const SampleMaker& maker, const std::filesystem::path& file, bool skip_bad)
      : maker_(maker), file_(file.string()), stratum_(lossy_utf8(file.filename().string())), skip_bad_(skip_bad) {}

  std::vector<Slice> run(const io::LineBlock& block) const {
    const std::vector<Line> lines = lines_of(block);
    const int threads = omp_get_max_threads();
    std::vector<Slice> slices(threads);
#pragma omp parallel for schedule(static, 1) num_threads(threads)
    for (int thread = 0; thread < threads; ++thread) {
      const std::size_t first = lines.size() * thread / threads;
      const std::size_t last = lines.size() * (thread + 1) / threads;
      tokenize(std::span(lines).subspan(first, last - first), slices[thread]);
    }
    return slices;
  }

 private:
  void tokenize(std::span<const Line> lines, Slice& slice) const {
    for (const Line& line : lines) {
      try {
        add_line(maker_, line, file_, stratum_, slice);
      } catch (const InputError&) {
        ++slice.counts.bad;
        if (!skip_bad_) {
          slice.failure = std::current_exception();
          return;
        }
      } catch (...) {
        slice.failure = std::current_exception();
        return;
      }
    }
  }

  const SampleMaker& maker_;
  std::string file_;
  std::string stratum_;
  bool skip_bad_;
};

/// Names of strata in the order of their first sample, the same on all ranks.
class Strata {
 public:
  /// Collective. Takes in the sources of all ranks' slices, rank after rank.
  void add(comm::Communicator& group, const std::vector<Slice>& mine) {
    std::string unknown;  // names, each ended by a zero
    for (const Slice& slice : mine) {
      for (const std::string& source : slice.sources) {
        if (!ids_.contains(source)) {
          unknown.append(source).push_back('\0');
        }
      }
    }
    std::uint64_t any = unknown.size();
    group.sum({&any, 1});
    if (any == 0) {
      return;
    }
    for (const std::string& list : group.gather(unknown)) {
      for (std::size_t at = 0; at < list.size(); at = list.find('\0', at) + 1) {
        add_name(list.c_str() + at);
      }
    }
  }
  std::uint16_t id(const std::string& name) const { return ids_.at(name); }
  const std::vector<std::string>& names() const { return names_; }

 private:
  void add_name(const std::string& name) {
    if (names_.size() > std::numeric_limits<std::uint16_t>::max()) {
      fail(ExitCode::bad_data, "the field \"source\" has more than {} different values; use coarser names",
           names_.size());
    }
    if (ids_.emplace(name, static_cast<std::uint16_t>(names_.size())).second) {
      names_.push_back(name);
    }
  }

  std::vector<std::string> names_;
  std::unordered_map<std::string, std::uint16_t> ids_;
};

std::vector<io::Sample> samples_of(const std::vector<Slice>& slices, const Strata& strata) {
  std::vector<io::Sample> samples;
  for (const Slice& slice : slices) {
    const std::span<const std::uint32_t> tokens(slice.tokens);
    for (const Slice::Row& row : slice.rows) {
      samples.push_back({tokens.subspan(row.first, row.instruction_length),
                         tokens.subspan(row.first + row.instruction_length, row.response_length),
                         strata.id(slice.sources[row.source])});
    }
  }
  return samples;
}

Tokenizer read_tokenizer(comm::Communicator& group, const std::filesystem::path& path) {
  std::string text;
  comm::together(group, [&] {
    if (group.rank() == 0) {
      text = io::read_text(path);
    }
  });
  // From one rank, so that all use the same even where nodes see different files.
  text = comm::broadcast_text(group, std::move(text));
  return Tokenizer::parse(std::move(text), path.string());
}

std::int64_t expected_tokens(const std::vector<std::filesystem::path>& inputs) {
  std::int64_t bytes = 0;
  for (const std::filesystem::path& input : inputs) {
    std::error_code missing;
    const std::uintmax_t size = std::filesystem::file_size(input, missing);
    if (missing) {
      fail(ExitCode::no_input, "{}: cannot be read ({}); check the path", input.string(), missing.message());
    }
    bytes += static_cast<std::int64_t>(size) * (io::is_compressed(input) ? 3 : 1);
  }
  return bytes / 5;  // English JSONL holds about a token in five bytes, and compresses to a third
}

io::CorpusHeader header_of(const Tokenizer& tokenizer, const PrepareOptions& options) {
  constexpr std::array<const char*, 3> overlong = {"truncate", "drop", "error"};
  const SpecialRoles ids = roles(tokenizer);
  io::CorpusHeader header;
  header.vocab_size = tokenizer.vocab_size();
  header.ids = {.begin = ids.begin,
                .end_of_instruction = ids.end_of_instruction,
                .end_of_answer = ids.end_of_answer,
                .pad = ids.pad,
                .condition_direct = ids.direct,
                .condition_cot = ids.cot,
                .condition_noisy = ids.noisy,
                .condition_synth = ids.synth};
  header.context = options.context;
  header.tokenizer_json = tokenizer.json();
  header.options =
      fmt::format("context = {}\noverlong = {}\nskip_bad = {}\ntokens_per_shard = {}\n", options.context,
                  overlong[static_cast<std::size_t>(options.overlong)], options.skip_bad, options.tokens_per_shard);
  return header;
}

void add_counts(const std::vector<Slice>& slices, PrepareCounts& total) {
  for (const Slice& slice : slices) {
    total.lines += slice.counts.lines;
    total.truncated += slice.counts.truncated;
    total.dropped += slice.counts.dropped;
    total.bad += slice.counts.bad;
  }
}

void rethrow_first(const std::vector<Slice>& slices) {
  for (const Slice& slice : slices) {
    if (slice.failure) {
      std::rethrow_exception(slice.failure);
    }
  }
}

PrepareCounts sum_over_ranks(comm::Communicator& group, const PrepareCounts& mine) {
  std::array<std::uint64_t, 4> counts = {mine.lines, mine.truncated, mine.dropped, mine.bad};
  group.sum(std::span<std::uint64_t>(counts));
  return {.lines = counts[0], .truncated = counts[1], .dropped = counts[2], .bad = counts[3]};
}

}  // namespace

Prepared prepare(comm::Communicator& group, const PrepareOptions& options) {
  const Tokenizer tokenizer = read_tokenizer(group, options.tokenizer);
  const SampleMaker maker(tokenizer, options.context, options.overlong);
  std::int64_t expected = 0;
  comm::together(group, [&] { expected = expected_tokens(options.inputs); });
  io::ShardSetWriter writer(group, options.out, header_of(tokenizer, options), options.tokens_per_shard,
                            options.replace, expected);
  Strata strata;
  PrepareCounts counts;
  for (const std::filesystem::path& input : options.inputs) {
    const BlockTokenizer block_tokenizer(maker, input, options.skip_bad);
    const auto share = io::share_lines(group, input);
    for (io::LineBlock block; share->next(block);) {
      std::vector<Slice> slices;
      comm::together(group, [&] {
        slices = block_tokenizer.run(block);
        rethrow_first(slices);
      });
      add_counts(slices, counts);
      strata.add(group, slices);
      writer.append(samples_of(slices, strata));
    }
  }
  return {sum_over_ranks(group, counts), writer.finish(strata.names())};
}

}  // namespace hrm::text
