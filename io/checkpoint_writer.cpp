#include "io/checkpoint_writer.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/buffer.hpp"
#include "base/digest.hpp"
#include "base/error.hpp"
#include "io/background.hpp"
#include "io/checkpoint_file.hpp"
#include "io/disk.hpp"
#include "io/integrity.hpp"
#include "io/part_writer.hpp"
#include "io/run_files.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t metadata_bytes = std::int64_t{1} << 20;  // generous, beside the texts
constexpr std::int64_t element_bytes = sizeof(float);
constexpr std::int64_t page_elements = 4096 / element_bytes;

/// Elements of the whole tensor.
std::int64_t count_of(const TensorPart& part) {
  return TensorInfo{part.path, part.slice.logical_shape}.count();
}

/// One tensor per path; pieces of one tensor stand next to each other.
std::vector<const TensorPart*> distinct(std::span<const TensorPart> parts) {
  std::vector<const TensorPart*> tensors;
  for (const TensorPart& part : parts) {
    if (tensors.empty() || tensors.back()->path != part.path) {
      tensors.push_back(&part);
    }
  }
  return tensors;
}

enum class Phase { parts, digest, finished };

/// A save in flight.
struct Save {
  CheckpointMeta meta;
  std::vector<TensorPart> parts;
  std::vector<std::size_t> tensor_of;  ///< [parts] index of the part's tensor
  std::vector<std::string> paths;      ///< [tensors]
  std::vector<std::int64_t> offsets;   ///< [tensors] where the data start in the file
  std::vector<FileRange> ranges;       ///< the tensors' data as they lie in the file, on the first rank
  std::uint64_t file_digest = 0;       ///< of this rank's share of the file
  std::filesystem::path temporary;
  std::filesystem::path final_path;
  std::optional<PartWriter> writer;
  Phase phase = Phase::parts;  ///< what the thread does or has done
};

}  // namespace

struct CheckpointWriter::State {
  comm::Communicator& group;
  std::filesystem::path folder;
  std::string run_id;
  std::int64_t staging_bytes;

  Buffer<float> staging;
  Buffer<std::byte> bounce;
  std::vector<RawFile> closing;
  BackgroundThread thread;
  double seconds = 0;
  std::uint64_t last_digest = 0;
  std::optional<Save> save;

  bool first_rank() const { return group.rank() == 0; }
  template <class Work>
  void on_first_rank(Work&& work);
  void list_tensors();
  void check_coverage();
  void create_file();
  void take_memory(std::span<const TensorPart> parts);
  void start_parts();
  void finish_parts();
  void digest_file();
  void add_digests(const std::vector<std::uint64_t>& digests);
  void publish_save();
  template <class Work>
  void guarded(Work&& work);
  void drop() noexcept;
};

/// Numbers the tensors of the parts list, which is the same list of paths on all ranks.
void CheckpointWriter::State::list_tensors() {
  for (const TensorPart& part : save->parts) {
    if (save->paths.empty() || save->paths.back() != part.path) {
      save->paths.push_back(part.path);
    }
    save->tensor_of.push_back(save->paths.size() - 1);
  }
  save->offsets.resize(save->paths.size());
}

/// Pieces of all ranks together are as many elements as each tensor has.
void CheckpointWriter::State::check_coverage() {
  std::vector<std::uint64_t> counts(save->paths.size());
  comm::together(group, [&] {
    for (std::size_t i = 0; i < save->parts.size(); ++i) {
      const TensorPart& part = save->parts[i];
      ensure(is_tensor_path(part.path), "checkpoint: a tensor lies outside /model, /optimizer, /ema");
      const std::int64_t held = TensorInfo{part.path, part.slice.shape()}.count();
      ensure(part.first >= 0 && part.count >= 0 && part.first + part.count <= held,
             "checkpoint: a part lies outside its slice");
      counts[save->tensor_of[i]] += static_cast<std::uint64_t>(part.count);
    }
  });
  group.sum(std::span(counts));
  comm::together(group, [&] {
    for (std::size_t i = 0; i < save->parts.size(); ++i) {
      ensure(counts[save->tensor_of[i]] == static_cast<std::uint64_t>(count_of(save->parts[i])),
             "checkpoint: the parts do not cover a tensor exactly once");
    }
  });
}

void CheckpointWriter::State::take_memory(std::span<const TensorPart> parts) {
  if (bounce.size() == 0) {
    bounce = Buffer<std::byte>(save_bounce_bytes);
    staging = Buffer<float>(std::min(PartWriter::staging_elements(parts), staging_bytes / element_bytes));
  }
}

void CheckpointWriter::State::create_file() {
  const auto texts = static_cast<std::int64_t>(save->meta.config_text.size() + save->meta.tokenizer_json.size() +
                                               save->meta.products.size());
  const std::int64_t bytes = checkpoint_bytes(save->parts) + texts;
  const std::int64_t room = free_bytes(folder);
  if (room < bytes) {
    fail(ExitCode::io_error, "{}: a checkpoint needs {} bytes, the disk has {} left; free some space and run again",
         save->final_path.string(), bytes, room);
  }
  h5::File file = h5::File::create(save->temporary);
  write_meta(file, save->meta);
  std::size_t tensor = 0;
  for (const TensorPart* part : distinct(save->parts)) {
    h5::Dataset dataset = file.create_dataset(part->path, h5::Type::float32, part->slice.logical_shape);
    if (part->step >= 0) {
      dataset.set_attribute("step", part->step);
    }
    save->offsets[tensor] = dataset.offset();
    save->ranges.push_back({dataset.offset(), dataset.offset() + count_of(*part) * element_bytes});
    ++tensor;
  }
  std::erase_if(save->ranges, [](const FileRange& range) { return range.begin == range.end; });
  std::sort(save->ranges.begin(), save->ranges.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  file.close();
  RawFile raw(save->temporary, RawFile::Mode::write);
  raw.reserve(raw.size());
}

/// The thread writes this rank's parts.
void CheckpointWriter::State::start_parts() {
  std::vector<PlacedPart> placed;
  for (std::size_t i = 0; i < save->parts.size(); ++i) {
    const std::size_t tensor = save->tensor_of[i];
    placed.push_back({save->parts[i], tensor, save->offsets[tensor]});
  }
  take_memory(save->parts);
  save->writer.emplace(BlockFile(save->temporary, bounce.span()), std::move(placed), save->paths.size(),
                       staging.span());
  thread.start([writer = &*save->writer] { writer->run(); });
}

/// All data are in the file: adds their digests, and the thread what is left of the file's.
void CheckpointWriter::State::finish_parts() {
  std::vector<std::uint64_t> digests = save->writer->digests();
  group.sum(std::span(digests));
  for (std::size_t i = 0; i < save->paths.size(); ++i) {
    save->meta.state_digest += state_digest_part(save->paths[i], digests[i]);
  }
  on_first_rank([&] { add_digests(digests); });
  save->phase = Phase::digest;
  thread.start([this] { digest_file(); });
}

/// What this rank has written, and on one rank what lies between the tensors: the words that begin there.
void CheckpointWriter::State::digest_file() {
  save->file_digest = save->writer->file_digest();
  if (first_rank()) {
    save->file_digest += digest_outside(RawFile(save->temporary, RawFile::Mode::read), save->ranges);
  }
}

/// state_digest and /integrity, by one rank.
void CheckpointWriter::State::add_digests(const std::vector<std::uint64_t>& digests) {
  h5::File file = h5::File::open_for_writing(save->temporary);
  DatasetDigests known;
  for (std::size_t i = 0; i < save->paths.size(); ++i) {
    known[save->paths[i]] = digests[i];
  }
  file.open_group("/state").set_attribute("state_digest", save->meta.state_digest);
  write_integrity(file, all_digests(file, known));
  file.close();
}

void CheckpointWriter::State::publish_save() {
  seal_user_block(save->temporary, save->file_digest);
  publish(save->temporary, save->final_path);
  point_latest(folder, save->final_path.filename().string());
}

template <class Work>
void CheckpointWriter::State::on_first_rank(Work&& work) {
  comm::together(group, [&] {
    if (first_rank()) {
      work();
    }
  });
}

/// Runs a step of a save; if it fails, the save is given up on all ranks.
template <class Work>
void CheckpointWriter::State::guarded(Work&& work) {
  try {
    work();
  } catch (...) {
    drop();
    throw;
  }
}

void CheckpointWriter::State::drop() noexcept {
  if (!save) {
    return;
  }
  if (save->writer) {
    save->writer->cancel();
  }
  thread.finish();
  thread.take_seconds();
  if (first_rank()) {
    std::error_code ignored;
    std::filesystem::remove(save->temporary, ignored);
  }
  save.reset();
}

CheckpointWriter::CheckpointWriter(comm::Communicator& group, std::filesystem::path folder, std::string run_id,
                                   std::int64_t staging_bytes)
    : state_(new State{group, std::move(folder), std::move(run_id), staging_bytes, {}, {}, {}, {}, 0, 0, {}}) {
  state_->on_first_rank([&] {
    make_folder(state_->folder);
    const std::string ending = fmt::format(".{}.tmp", state_->run_id);
    for (const auto& entry : std::filesystem::directory_iterator(state_->folder)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(".step-") && name.ends_with(ending)) {
        std::filesystem::remove(entry.path());
      }
    }
    std::error_code ignored;
    std::filesystem::remove(temporary_name(state_->folder / latest_name, replacement_tag), ignored);
  });
}

CheckpointWriter::~CheckpointWriter() {
  abandon();
}

void CheckpointWriter::prepare(std::span<const TensorPart> parts) {
  State& state = *state_;
  ensure(!state.save, "CheckpointWriter: prepare() while a save is in flight");
  state.thread.finish();
  state.take_memory(parts);
  const std::int64_t elements = state.staging.size();
  float* staging = state.staging.data();
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < elements; i += page_elements) {
    staging[i] = 0;
  }
}

void CheckpointWriter::close_behind(std::vector<RawFile> files) {
  State& state = *state_;
  ensure(!state.save, "CheckpointWriter: close_behind() while a save is in flight");
  state.thread.finish();
  state.closing = std::move(files);
  state.thread.start([&state] { state.closing.clear(); });
}

void CheckpointWriter::begin_save(CheckpointMeta meta, std::span<const TensorPart> parts) {
  State& state = *state_;
  ensure(!state.save, "CheckpointWriter: one save at a time");
  state.thread.finish();
  state.thread.take_seconds();
  state.save.emplace();
  Save& save = *state.save;
  save.meta = std::move(meta);
  save.meta.run_id = state.run_id;
  save.meta.state_digest = 0;
  save.meta.created_at = utc_now();
  save.parts.assign(parts.begin(), parts.end());
  save.final_path = state.folder / checkpoint_name(save.meta.step);
  save.temporary = temporary_name(save.final_path, state.run_id);
  state.guarded([&] {
    state.list_tensors();
    state.check_coverage();
    state.on_first_rank([&] { state.create_file(); });
    state.group.broadcast(std::as_writable_bytes(std::span(save.offsets)), 0);
    comm::together(state.group, [&] { state.start_parts(); });
  });
}

void CheckpointWriter::release_sources() {
  if (state_->save) {
    state_->save->writer->release_sources();
  }
}

bool CheckpointWriter::ready() const {
  return state_->save && state_->thread.idle();
}

bool CheckpointWriter::advance() {
  State& state = *state_;
  ensure(state.save.has_value(), "CheckpointWriter: advance() without begin_save()");
  Save& save = *state.save;
  state.guarded([&] {
    comm::together(state.group, [&] { state.thread.wait(); });
    if (save.phase == Phase::parts) {
      state.finish_parts();
    } else {
      save.phase = Phase::finished;
    }
  });
  return save.phase == Phase::finished;
}

std::filesystem::path CheckpointWriter::commit() {
  State& state = *state_;
  ensure(state.save && state.save->phase == Phase::finished, "CheckpointWriter: commit() too early");
  Save& save = *state.save;
  state.guarded([&] {
    state.group.sum(std::span(&save.file_digest, 1));
    state.on_first_rank([&] { state.publish_save(); });
  });
  state.last_digest = save.meta.state_digest;
  state.seconds = state.thread.take_seconds();
  std::filesystem::path path = save.final_path;
  state.save.reset();
  return path;
}

bool CheckpointWriter::saving() const {
  return state_->save.has_value();
}

double CheckpointWriter::background_seconds() const {
  return state_->seconds;
}

void CheckpointWriter::abandon() noexcept {
  state_->drop();
}

std::uint64_t CheckpointWriter::state_digest() const {
  return state_->last_digest;
}

std::filesystem::path CheckpointWriter::save(CheckpointMeta meta, std::span<const TensorPart> parts) {
  begin_save(std::move(meta), parts);
  while (!advance()) {
  }
  return commit();
}

std::int64_t checkpoint_bytes(std::span<const TensorPart> parts) {
  std::int64_t bytes = metadata_bytes;
  for (const TensorPart* part : distinct(parts)) {
    bytes += count_of(*part) * element_bytes;
  }
  return bytes;
}

}  // namespace hrm::io
