#include "io/checkpoint_writer.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "io/checkpoint_file.hpp"
#include "io/disk.hpp"
#include "io/integrity.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t advance_bytes = std::int64_t{256} << 20;
constexpr std::int64_t metadata_bytes = std::int64_t{1} << 20;  // generous, beside the texts
constexpr const char* latest_name = "latest.h5";

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

void replace_link(const std::filesystem::path& link, const std::string& target) {
  const std::filesystem::path temporary = temporary_name(link, replacement_tag);
  std::error_code error;
  std::filesystem::remove(temporary, error);
  std::filesystem::create_symlink(target, temporary, error);
  if (error) {
    fail(ExitCode::cannot_create, "{}: cannot make the link to {}: {}; checkpoint folders need symbolic links",
         link.string(), target, error.message());
  }
  publish(temporary, link);
}

/// A save in flight.
struct Save {
  CheckpointMeta meta;
  std::vector<TensorPart> parts;
  std::vector<std::size_t> tensor_of;  ///< [parts] index of the part's tensor
  std::vector<std::string> paths;      ///< [tensors]
  std::vector<std::int64_t> offsets;   ///< [tensors] where the data start in the file
  std::vector<std::uint64_t> digests;  ///< [tensors] of what this rank has written
  std::filesystem::path temporary;
  std::filesystem::path final_path;
  RawFile file;
  std::size_t part = 0;       ///< next to write …
  std::int64_t position = 0;  ///< … from this element of it
};

}  // namespace

struct CheckpointWriter::State {
  comm::Communicator& group;
  std::filesystem::path folder;
  std::string run_id;

  std::optional<Save> save;
  std::uint64_t last_digest = 0;

  bool first_rank() const { return group.rank() == 0; }
  void list_tensors();
  void check_coverage();
  void create_file();
  void write_some();
  void write_piece(const TensorPart& part, std::size_t tensor, std::int64_t count);
  void add_digests();
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
  save->digests.resize(save->paths.size());
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

void CheckpointWriter::State::create_file() {
  const auto texts = static_cast<std::int64_t>(save->meta.config_text.size() + save->meta.tokenizer_json.size());
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
    ++tensor;
  }
  file.close();
  RawFile raw(save->temporary, RawFile::Mode::write);
  raw.reserve(raw.size());
}

/// The next pieces of this rank's data, up to advance_bytes.
void CheckpointWriter::State::write_some() {
  std::int64_t budget = advance_bytes / static_cast<std::int64_t>(sizeof(float));
  while (budget > 0 && save->part < save->parts.size()) {
    const TensorPart& part = save->parts[save->part];
    const std::size_t tensor = save->tensor_of[save->part];
    const std::int64_t count = std::min(budget, part.count - save->position);
    write_piece(part, tensor, count);
    budget -= count;
    save->position += count;
    if (save->position == part.count) {
      save->part += 1;
      save->position = 0;
    }
  }
}

/// The next `count` elements of a part. Runs of a column slice are short and the other ranks of the tensor group own
/// what lies between them, so there is nothing to stage: the group shares a node, whose page cache joins the runs.
void CheckpointWriter::State::write_piece(const TensorPart& part, std::size_t tensor, std::int64_t count) {
  part.slice.for_each_run(part.first + save->position, count,
                          [&](std::int64_t local, std::int64_t logical, std::int64_t length) {
                            const std::span data(part.data + (local - part.first), static_cast<std::size_t>(length));
                            const std::int64_t place = logical * static_cast<std::int64_t>(sizeof(float));
                            save->file.write_at(save->offsets[tensor] + place, std::as_bytes(data));
                            save->digests[tensor] += digest(data, static_cast<std::uint64_t>(logical));
                          });
}

/// state_digest and /integrity, by one rank, after all data are in the file.
void CheckpointWriter::State::add_digests() {
  h5::File file = h5::File::open_for_writing(save->temporary);
  DatasetDigests known;
  for (std::size_t i = 0; i < save->paths.size(); ++i) {
    known[save->paths[i]] = save->digests[i];
  }
  file.open_group("/state").set_attribute("state_digest", save->meta.state_digest);
  write_integrity(file, all_digests(file, known));
  file.close();
}

void CheckpointWriter::State::publish_save() {
  publish(save->temporary, save->final_path);
  replace_link(folder / latest_name, save->final_path.filename().string());
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
  if (save && first_rank()) {
    std::error_code ignored;
    std::filesystem::remove(save->temporary, ignored);
  }
  save.reset();
}

CheckpointWriter::CheckpointWriter(comm::Communicator& group, std::filesystem::path folder, std::string run_id)
    : state_(new State{group, std::move(folder), std::move(run_id), {}, 0}) {
  comm::together(group, [&] {
    if (state_->first_rank()) {
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
    }
  });
}

CheckpointWriter::~CheckpointWriter() {
  abandon();
}

void CheckpointWriter::begin_save(CheckpointMeta meta, std::span<const TensorPart> parts) {
  State& state = *state_;
  ensure(!state.save, "CheckpointWriter: one save at a time");
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
    comm::together(state.group, [&] {
      if (state.first_rank()) {
        state.create_file();
      }
    });
    state.group.broadcast(std::as_writable_bytes(std::span(save.offsets)), 0);
    comm::together(state.group, [&] { save.file = RawFile(save.temporary, RawFile::Mode::write); });
  });
}

bool CheckpointWriter::advance() {
  State& state = *state_;
  ensure(state.save.has_value(), "CheckpointWriter: advance() without begin_save()");
  std::int64_t unfinished = 0;
  state.guarded([&] {
    comm::together(state.group, [&] { state.write_some(); });
    unfinished = state.save->part < state.save->parts.size() ? 1 : 0;
    state.group.max(std::span(&unfinished, 1));
  });
  return unfinished == 0;
}

std::filesystem::path CheckpointWriter::commit() {
  State& state = *state_;
  ensure(state.save.has_value() && state.save->part == state.save->parts.size(),
         "CheckpointWriter: commit() too early");
  Save& save = *state.save;
  state.guarded([&] {
    comm::together(state.group, [&] { save.file.sync(); });
    state.group.sum(std::span(save.digests));
    for (std::size_t i = 0; i < save.paths.size(); ++i) {
      save.meta.state_digest += state_digest_part(save.paths[i], save.digests[i]);
    }
    comm::together(state.group, [&] {
      if (state.first_rank()) {
        state.add_digests();
      }
    });
    write_user_block(state.group, save.temporary);
    comm::together(state.group, [&] {
      if (state.first_rank()) {
        state.publish_save();
      }
    });
  });
  state.last_digest = save.meta.state_digest;
  std::filesystem::path path = save.final_path;
  state.save.reset();
  return path;
}

bool CheckpointWriter::saving() const {
  return state_->save.has_value();
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
    bytes += count_of(*part) * static_cast<std::int64_t>(sizeof(float));
  }
  return bytes;
}

std::vector<std::filesystem::path> delete_old_checkpoints(const std::filesystem::path& folder, std::int64_t keep_last,
                                                          std::int64_t keep_every) {
  std::error_code ignored;
  const std::filesystem::path latest = std::filesystem::read_symlink(folder / latest_name, ignored).filename();
  std::vector<std::filesystem::path> deleted;
  std::int64_t kept = 0;
  for (const CheckpointFile& file : list_checkpoints(folder)) {
    ++kept;
    const bool milestone = keep_every > 0 && file.step % keep_every == 0;
    if (kept <= std::max<std::int64_t>(keep_last, 1) || milestone || file.path.filename() == latest) {
      continue;
    }
    if (std::filesystem::remove(file.path, ignored)) {
      deleted.push_back(file.path);
    }
  }
  return deleted;
}

}  // namespace hrm::io
