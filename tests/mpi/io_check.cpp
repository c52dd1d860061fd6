// Shards and checkpoints of several ranks are those of one; one rank's bad file is reported on all.
#include <cstdio>
#include <cstdlib>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "comm/mpi_session.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/integrity.hpp"
#include "io/token_reader.hpp"
#include "io/user_block.hpp"
#include "tests/io/io_samples.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t n_samples = 150;
constexpr std::int64_t vocab_size = 300;

/// A folder that all ranks see; the first rank makes it and removes it.
class SharedFolder {
 public:
  explicit SharedFolder(comm::Communicator& world)
      : own_(world.rank() == 0 ? std::make_unique<ScratchFolder>() : nullptr) {
    path_ = comm::broadcast_text(world, own_ ? own_->path().string() : "");
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::unique_ptr<ScratchFolder> own_;
  std::filesystem::path path_;
};

void expect_same_files(const std::filesystem::path& a, const std::filesystem::path& b) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(a)) {
    ensure(file_bytes(entry.path()) == file_bytes(b / entry.path().filename()), "files of the two folders differ");
    ++count;
  }
  ensure(count > 2, "too few files to compare");
}

void check_shards(comm::Communicator& world, const SharedFolder& folder) {
  write_made_corpus(world, folder / "all", n_samples, vocab_size, 200);
  if (world.rank() == 0) {
    write_made_corpus(*comm::serial_communicator(), folder / "one", n_samples, vocab_size, 200, 33);
    expect_same_files(folder / "all", folder / "one");
  }
  world.barrier();
}

void check_reading(comm::Communicator& world, const SharedFolder& folder) {
  const Corpus corpus = open_corpus(world, folder / "all");
  TokenReader reader(std::make_shared<TokenFiles>(world, corpus.info));
  std::vector<std::vector<std::int32_t>> tokens(n_samples);
  std::vector<TokenRange> ranges;
  for (std::int64_t i = world.rank(); i < n_samples; i += world.size()) {
    const auto at = static_cast<std::size_t>(i);
    tokens[at].resize(corpus.index.instruction_length[at] + corpus.index.response_length[at]);
    ranges.push_back({corpus.index.shard_of(i), static_cast<std::int64_t>(corpus.index.offset[at]),
                      static_cast<std::int64_t>(tokens[at].size()), tokens[at].data()});
  }
  reader.start(ranges);
  reader.finish();
  for (std::int64_t i = world.rank(); i < n_samples; i += world.size()) {
    const MadeSample sample = made_sample(i, vocab_size);
    std::vector<std::int32_t> expected(sample.instruction.begin(), sample.instruction.end());
    expected.insert(expected.end(), sample.response.begin(), sample.response.end());
    ensure(tokens[static_cast<std::size_t>(i)] == expected, "tokens read differ from those written");
  }
}

/// The last rank sees a damaged copy of the corpus.
void check_bad_copy(comm::Communicator& world, const SharedFolder& folder) {
  const bool last = world.rank() == world.size() - 1;
  if (last) {
    // MPI-IO keeps files of its own beside those that are open: only HDF5's are copied.
    std::filesystem::create_directory(folder / "bad");
    for (const auto& entry : std::filesystem::directory_iterator(folder / "all")) {
      if (entry.path().extension() == ".h5") {
        std::filesystem::copy_file(entry.path(), folder / "bad" / entry.path().filename());
      }
    }
    std::string bytes = file_bytes(folder / "bad/shard-00001.h5");
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 4);
    overwrite(folder / "bad/shard-00001.h5", bytes);
  }
  std::string message;
  try {
    open_corpus(world, folder / (last ? "bad" : "all"));
  } catch (const InputError& error) {
    message = error.what();
  }
  const std::string rank = world.size() == 1 ? "" : fmt::format("rank {}: ", world.size() - 1);
  ensure(message.starts_with(rank) && message.find("bad/shard-00001.h5") != std::string::npos,
         "the damaged copy is not reported with rank and file");
  world.barrier();
}

void check_checkpoints(comm::Communicator& world, const SharedFolder& folder) {
  const MadeState state = made_state(7);
  CheckpointWriter writer(world, folder / "run", "run1");
  const std::filesystem::path path = writer.save(state.meta, state.parts(world.rank(), world.size()));
  const std::unique_ptr<comm::Communicator> alone = comm::serial_communicator();
  CheckpointReader reader(world, path);
  for (std::size_t i = 0; i < state.paths.size(); ++i) {
    std::vector<float> values(state.values[i].size());
    reader.read(state.paths[i], 0, values);
    ensure(values == state.values[i], "a tensor differs from what was saved");
  }
  CheckpointWriter single(*alone, folder / fmt::format("single{}", world.rank()), "run1");
  single.save(state.meta, state.parts(0, 1));
  ensure(single.state_digest() == writer.state_digest(), "state_digest depends on the number of ranks");
  world.barrier();
}

/// Matrices cut in every way, and a vector that is not; values are a function of (tensor, element).
struct CutTensors {
  std::vector<TensorSlice> slices = {{{24, 12}, TensorSplit::rows, 1, {}},
                                     {{24, 12}, TensorSplit::columns, 1, {}},
                                     {{24, 12}, TensorSplit::row_blocks, 2, {}},
                                     {{12}, TensorSplit::none, 1, {}}};
  std::vector<std::string> paths = {"/model/rows", "/model/columns", "/ema/blocks", "/model/vector"};
  std::vector<std::vector<float>> values;

  CutTensors() {
    for (std::size_t i = 0; i < slices.size(); ++i) {
      values.emplace_back(slices[i].logical_shape.size() == 2 ? 24 * 12 : 12);
      for (std::size_t j = 0; j < values[i].size(); ++j) {
        values[i][j] = static_cast<float>(1000 * i + j);
      }
    }
  }
};

/// What one rank of a data x tensor grid writes of each tensor: its data rank's share of its slice.
std::vector<TensorPart> parts_of(const CutTensors& tensors, std::vector<std::vector<float>>& held, TensorPlace place,
                                 int data_rank, int data_size) {
  std::vector<TensorPart> parts;
  for (std::size_t i = 0; i < tensors.slices.size(); ++i) {
    TensorSlice slice = tensors.slices[i];
    slice.place = place;
    held.push_back(slice_values(slice, tensors.values[i]));
    const bool mine = slice.split != TensorSplit::none || place.rank == 0;
    const std::int64_t count = mine ? std::ssize(held.back()) : 0;
    const std::int64_t first = count * data_rank / data_size;
    const std::int64_t last = count * (data_rank + 1) / data_size;
    parts.push_back({tensors.paths[i], slice, first, last - first, held.back().data() + first});
  }
  return parts;
}

void check_slices_of(const CheckpointReader& reader, const CutTensors& tensors, TensorPlace place) {
  for (std::size_t i = 0; i < tensors.slices.size(); ++i) {
    TensorSlice slice = tensors.slices[i];
    slice.place = place;
    const std::vector<float> expected = slice_values(slice, tensors.values[i]);
    std::vector<float> read(expected.size());
    reader.read(tensors.paths[i], slice, 0, read);
    ensure(read == expected, "a slice differs from what was saved");
  }
}

/// Every layout of the ranks writes the same tensors as one rank, and every layout reads them.
void check_layouts(comm::Communicator& world, const SharedFolder& folder) {
  const CutTensors tensors;
  CheckpointMeta meta = made_state(9).meta;
  std::uint64_t state_digest = 0;
  for (std::size_t i = 0; i < tensors.paths.size(); ++i) {
    state_digest += state_digest_part(tensors.paths[i], digest(std::span<const float>(tensors.values[i])));
  }
  for (int tensor = 1; tensor <= world.size(); ++tensor) {
    if (world.size() % tensor != 0) {
      continue;
    }
    std::vector<std::vector<float>> held;
    const std::vector<TensorPart> parts =
        parts_of(tensors, held, {world.rank() % tensor, tensor}, world.rank() / tensor, world.size() / tensor);
    meta.step = 10 + tensor;
    const std::filesystem::path path = CheckpointWriter(world, folder / "layouts", "run1").save(meta, parts);
    const CheckpointReader reader(world, path);
    ensure(reader.meta().state_digest == state_digest, "state_digest depends on the layout");
    for (std::size_t i = 0; i < tensors.paths.size(); ++i) {
      std::vector<float> values(tensors.values[i].size());
      reader.read(tensors.paths[i], 0, values);
      ensure(values == tensors.values[i], "a tensor's bytes depend on the layout");
    }
    for (const int other : {1, 2, 3, 4}) {
      check_slices_of(reader, tensors, {world.rank() % other, other});
    }
    verify_integrity(h5::File::open(path));  // as `hrm inspect --verify`: digests from the bytes in the file
  }
  world.barrier();
}

/// A save that fails on one rank fails on all and leaves older files alone.
void check_failed_save(comm::Communicator& world, const SharedFolder& folder) {
  const MadeState state = made_state(8);
  CheckpointWriter writer(world, folder / "run", "run1");
  if (world.rank() == 0) {
    std::filesystem::create_directory(folder / "run/.step-00000008.h5.run1.tmp");  // in the way
  }
  world.barrier();
  bool failed = false;
  try {
    writer.save(state.meta, state.parts(world.rank(), world.size()));
  } catch (const InputError& error) {
    failed = error.code() == ExitCode::cannot_create;
  }
  ensure(failed, "a save without room for its temporary must fail with 73 on every rank");
  ensure(newest_good(world, folder / "run").checkpoint->meta().step == 7, "the older checkpoint is gone");
}

/// Sources change as soon as they are released; the file is that of a save at once.
void check_background_save(comm::Communicator& world, const SharedFolder& folder) {
  const MadeState state = made_state(20);
  CheckpointWriter at_once(world, folder / "at-once", "run1");
  at_once.save(state.meta, state.parts(world.rank(), world.size()));
  for (const std::int64_t staging : {0, 64, 1 << 20}) {
    MadeState changing = state;
    CheckpointWriter writer(world, folder / "behind", "run1", staging);
    writer.begin_save(changing.meta, changing.parts(world.rank(), world.size()));
    writer.release_sources();
    for (std::vector<float>& values : changing.values) {
      std::fill(values.begin(), values.end(), -1.0F);
    }
    double written = 0;
    bool finished = false;
    while (!finished) {  // as a training loop asks: all ranks' votes in one sum
      written = writer.ready() ? 1 : 0;
      world.sum(std::span(&written, 1));
      finished = written == world.size() && writer.advance();
    }
    const std::filesystem::path path = writer.commit();
    ensure(writer.state_digest() == at_once.state_digest(), "a save in the background has other tensors");
    const CheckpointReader reader(world, path);
    verify_integrity(h5::File::open(path));
    world.barrier();
  }
}

/// A rank whose thread cannot write fails all ranks; the next save works.
void check_failed_background_save(comm::Communicator& world, const SharedFolder& folder) {
  const MadeState state = made_state(21);
  const Unreadable bad;
  std::vector<TensorPart> parts = state.parts(world.rank(), world.size());
  if (world.rank() == world.size() - 1) {
    parts[2].data = bad.data();
  }
  CheckpointWriter writer(world, folder / "behind", "run1");
  writer.begin_save(state.meta, parts);
  std::string message;
  try {
    writer.advance();
  } catch (const InputError& error) {
    message = error.code() == ExitCode::io_error ? error.what() : "";
  }
  const std::string rank = world.size() == 1 ? "" : fmt::format("rank {}: ", world.size() - 1);
  ensure(message.starts_with(rank) && message.find("cannot write") != std::string::npos,
         "a failed write must be 74 on every rank, with the failing rank");
  world.barrier();
  ensure(!writer.saving() && !std::filesystem::exists(folder / "behind/.step-00000021.h5.run1.tmp"),
         "a failed save must leave nothing");
  const CheckpointReader older(world, folder / "behind/step-00000020.h5");
  writer.save(state.meta, state.parts(world.rank(), world.size()));
}

void run(comm::Communicator& world) {
  const SharedFolder folder(world);
  check_shards(world, folder);
  check_reading(world, folder);
  check_bad_copy(world, folder);
  check_checkpoints(world, folder);
  check_layouts(world, folder);
  check_failed_save(world, folder);
  check_background_save(world, folder);
  check_failed_background_save(world, folder);
  world.barrier();
}

}  // namespace
}  // namespace hrm::io

int main() {
  hrm::comm::MpiSession session;
  hrm::log::set_rank(session.world().rank());
  try {
    hrm::io::run(session.world());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "rank %d: %s\n", session.world().rank(), error.what());
    session.abort(1);
  }
  return 0;
}
