#include "io/token_reader.hpp"

#include <mpi.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "comm/mpi_check.hpp"
#include "io/corpus_file.hpp"
#include "io/disk.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t largest_read = std::int64_t{1} << 30;  // MPI counts are int

/// A shard that is open for reading, through MPI-IO or plainly.
class TokenFile {
 public:
  TokenFile(const CorpusInfo& info, const ShardInfo& shard, bool mpi) : path_(info.folder / shard.name) {
    const h5::File file = open_shard(info, shard);
    offset_ = file.open_dataset(tokens_path).offset();
    if (mpi) {
      const int code = MPI_File_open(MPI_COMM_SELF, path_.c_str(), MPI_MODE_RDONLY, MPI_INFO_NULL, &mpi_file_);
      check(code, "open");
    } else {
      plain_ = RawFile(path_, RawFile::Mode::read);
    }
  }
  TokenFile(TokenFile&& other) noexcept
      : path_(std::move(other.path_)),
        offset_(other.offset_),
        plain_(std::move(other.plain_)),
        mpi_file_(std::exchange(other.mpi_file_, MPI_FILE_NULL)) {}
  TokenFile& operator=(TokenFile&&) = delete;
  ~TokenFile() {
    if (mpi_file_ != MPI_FILE_NULL) {
      MPI_File_close(&mpi_file_);
    }
  }

  /// Starts (MPI) or does a read of bytes relative to the start of /tokens.
  void read(std::int64_t at, std::span<std::byte> out, std::vector<MPI_Request>& requests) const {
    if (mpi_file_ == MPI_FILE_NULL) {
      plain_.read_at(offset_ + at, out);
      return;
    }
    MPI_Offset size = 0;
    check(MPI_File_get_size(mpi_file_, &size), "find the size of");
    if (size < offset_ + at + static_cast<std::int64_t>(out.size())) {
      // Open MPI 4.1 polls an asynchronous read that comes back short without end.
      fail(ExitCode::io_error, "{}: the file has become shorter while the run uses it; restore it", path_.string());
    }
    requests.push_back(MPI_REQUEST_NULL);  // what a call that fails leaves to be waited for
    check(MPI_File_iread_at(mpi_file_, offset_ + at, out.data(), static_cast<int>(out.size()), MPI_BYTE,
                            &requests.back()),
          "start to read");
  }
  void check(int code, const char* tried) const {
    if (code != MPI_SUCCESS) {
      fail(ExitCode::io_error, "{}: cannot {} {}: {}; check the file system", path_.string(), tried, tokens_path,
           comm::mpi_error_text(code));
    }
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::int64_t offset_ = 0;
  RawFile plain_;
  MPI_File mpi_file_ = MPI_FILE_NULL;
};

/// One read: bytes [at, at + size) of a shard's /tokens into the staging area from `staged`.
struct Read {
  std::size_t shard;
  std::int64_t at;
  std::int64_t size;
  std::int64_t staged;
};

}  // namespace

struct TokenFiles::State {
  std::vector<TokenFile> files;
  std::vector<std::int64_t> n_tokens;
  std::int64_t width = 2;  ///< bytes of a token on disk
  std::int64_t vocab_size = 0;
};

TokenFiles::TokenFiles(comm::Communicator& group, const CorpusInfo& info) : state_(std::make_unique<State>()) {
  state_->width = static_cast<std::int64_t>(h5::element_size(token_type(info.vocab_size)));
  state_->vocab_size = info.vocab_size;
  const bool mpi = group.native() != nullptr;
  for (const ShardInfo& shard : info.shards) {
    state_->files.emplace_back(info, shard, mpi);
    state_->n_tokens.push_back(shard.n_tokens);
  }
}

TokenFiles::~TokenFiles() = default;

struct TokenReader::State {
  explicit State(std::shared_ptr<const TokenFiles> open)
      : owner(std::move(open)),
        files(owner->state_->files),
        n_tokens(owner->state_->n_tokens),
        width(owner->state_->width),
        vocab_size(owner->state_->vocab_size) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  std::shared_ptr<const TokenFiles> owner;
  const std::vector<TokenFile>& files;
  const std::vector<std::int64_t>& n_tokens;
  std::int64_t width;  ///< bytes of a token on disk
  std::int64_t vocab_size;
  std::vector<TokenRange> ranges;       ///< of the batch in flight
  std::vector<std::int64_t> positions;  ///< where each range lies in the staging area, in bytes
  std::vector<Read> reads;
  std::vector<MPI_Request> requests;
  std::vector<std::byte> staging;

  ~State() { wait(); }
  void plan();
  void wait();
  void finish_reads();
  void deliver(const TokenRange& range, std::int64_t position) const;
};

/// Sorts the ranges' bytes into reads; ranges that touch or overlap share one.
void TokenReader::State::plan() {
  std::sort(ranges.begin(), ranges.end(), [](const TokenRange& a, const TokenRange& b) {
    return std::pair(a.shard, a.offset) < std::pair(b.shard, b.offset);
  });
  reads.clear();
  positions.clear();
  std::int64_t staged = 0;
  for (const TokenRange& range : ranges) {
    const std::int64_t begin = range.offset * width;
    const std::int64_t end = begin + range.count * width;
    const auto shard = static_cast<std::size_t>(range.shard);
    Read* last = reads.empty() ? nullptr : &reads.back();
    if (last == nullptr || last->shard != shard || begin > last->at + last->size || end - last->at > largest_read) {
      reads.push_back({shard, begin, 0, staged});
      last = &reads.back();
    }
    positions.push_back(last->staged + begin - last->at);
    last->size = std::max(last->size, end - last->at);
    staged = last->staged + last->size;
  }
  staging.resize(static_cast<std::size_t>(staged));
}

void TokenReader::State::wait() {
  if (requests.empty()) {
    return;  // also: no MPI call in a process without MPI
  }
  MPI_Waitall(static_cast<int>(requests.size()), requests.data(), MPI_STATUSES_IGNORE);
  requests.clear();
}

void TokenReader::State::finish_reads() {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const TokenFile& file = files[reads[i].shard];
    MPI_Status status;
    file.check(MPI_Wait(&requests[i], &status), "read");
    int got = 0;
    MPI_Get_count(&status, MPI_BYTE, &got);
    if (got != reads[i].size) {
      fail(ExitCode::io_error, "{}: {} of {} bytes of {} could be read; check the file", file.path().string(), got,
           reads[i].size, tokens_path);
    }
  }
  requests.clear();
}

void TokenReader::State::deliver(const TokenRange& range, std::int64_t position) const {
  const std::byte* source = staging.data() + position;
  for (std::int64_t i = 0; i < range.count; ++i) {
    std::uint32_t token = 0;  // little-endian: the low bytes come first
    std::memcpy(&token, source + i * width, static_cast<std::size_t>(width));
    if (token >= vocab_size) {
      fail(ExitCode::bad_data, "{}: {} holds {} at {}, beyond the vocabulary of {}; prepare the corpus again",
           files[static_cast<std::size_t>(range.shard)].path().string(), tokens_path, token, range.offset + i,
           vocab_size);
    }
    range.destination[i] = static_cast<std::int32_t>(token);
  }
}

TokenReader::TokenReader(std::shared_ptr<const TokenFiles> files) : state_(std::make_unique<State>(std::move(files))) {}

TokenReader::~TokenReader() = default;
TokenReader::TokenReader(TokenReader&&) noexcept = default;
TokenReader& TokenReader::operator=(TokenReader&&) noexcept = default;

void TokenReader::start(std::span<const TokenRange> ranges) {
  State& state = *state_;
  ensure(state.ranges.empty(), "TokenReader: start() before finish()");
  for (const TokenRange& range : ranges) {
    ensure(range.shard >= 0 && range.shard < static_cast<std::int64_t>(state.files.size()) && range.offset >= 0 &&
               range.count >= 0 && range.count <= state.n_tokens[static_cast<std::size_t>(range.shard)] - range.offset,
           "TokenReader: range outside its shard");
  }
  state.ranges.assign(ranges.begin(), ranges.end());
  state.plan();
  for (const Read& read : state.reads) {
    const auto out =
        std::span(state.staging).subspan(static_cast<std::size_t>(read.staged), static_cast<std::size_t>(read.size));
    state.files[read.shard].read(read.at, out, state.requests);
  }
}

void TokenReader::finish() {
  State& state = *state_;
  state.finish_reads();
  for (std::size_t i = 0; i < state.ranges.size(); ++i) {
    state.deliver(state.ranges[i], state.positions[i]);
  }
  state.ranges.clear();
}

}  // namespace hrm::io
