#include "io/checkpoint_reader.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "io/checkpoint_file.hpp"
#include "io/disk.hpp"
#include "io/integrity.hpp"
#include "io/run_files.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t block_elements = std::int64_t{2} << 20;  // 8 MiB of float32

}  // namespace

struct CheckpointReader::State {
  std::filesystem::path path;
  CheckpointMeta meta;
  std::vector<TensorInfo> tensors;    // sorted by path
  std::vector<std::int64_t> offsets;  // [tensors] where the data start in the file
  RawFile file;
  Between between;

  void read_contents();
  const TensorInfo* find(const std::string& name) const;
  const TensorInfo& known(const std::string& name) const;
  void read(const TensorInfo& tensor, std::int64_t first, std::span<float> destination) const;
  void read_columns(const TensorInfo& tensor, const TensorSlice& slice, std::int64_t first,
                    std::span<float> destination) const;
};

void CheckpointReader::State::read_contents() {
  const h5::File h5_file = h5::File::open(path);
  meta = read_meta(h5_file);
  DatasetDigests digests = read_integrity(h5_file);
  for (const std::string& name : h5_file.dataset_paths()) {
    if (!is_tensor_path(name)) {
      continue;
    }
    const h5::Dataset dataset = h5_file.open_dataset(name);
    if (dataset.type() != h5::Type::float32) {
      fail(ExitCode::bad_data, "{}: {} is {}, expected float32; write the file anew", path.string(), name,
           h5::name(dataset.type()));
    }
    const std::int64_t step = dataset.has_attribute("step") ? dataset.int64_attribute("step") : -1;
    tensors.push_back({name, dataset.shape(), step, digests[name]});
    offsets.push_back(dataset.offset());
  }
  file = RawFile(path, RawFile::Mode::read);
}

const TensorInfo* CheckpointReader::State::find(const std::string& name) const {
  const auto found = std::ranges::lower_bound(tensors, name, {}, &TensorInfo::path);
  return found != tensors.end() && found->path == name ? &*found : nullptr;
}

const TensorInfo& CheckpointReader::State::known(const std::string& name) const {
  const TensorInfo* tensor = find(name);
  if (tensor == nullptr) {
    fail(ExitCode::bad_data, "{}: holds no {}; it is a checkpoint of another model or optimizer", path.string(), name);
  }
  return *tensor;
}

void CheckpointReader::State::read(const TensorInfo& tensor, std::int64_t first, std::span<float> destination) const {
  if (between) {
    between();
  }
  const auto count = static_cast<std::int64_t>(destination.size());
  if (first < 0 || first + count > tensor.count()) {
    fail(ExitCode::bad_data, "{}: {} has {} elements, {} from {} were asked for; it is a checkpoint of another model",
         path.string(), tensor.path, tensor.count(), count, first);
  }
  const std::int64_t start = offsets[static_cast<std::size_t>(&tensor - tensors.data())];
  file.read_at(start + first * static_cast<std::int64_t>(sizeof(float)), std::as_writable_bytes(destination));
}

/// Reads blocks of whole rows and picks the columns: a read for each row's columns would be many small ones.
void CheckpointReader::State::read_columns(const TensorInfo& tensor, const TensorSlice& slice, std::int64_t first,
                                           std::span<float> destination) const {
  const std::int64_t columns = slice.shape()[1];
  const std::int64_t row_size = slice.logical_shape[1];
  const std::int64_t rows = std::max<std::int64_t>(1, block_elements / row_size);
  const std::int64_t last = first + static_cast<std::int64_t>(destination.size());
  std::vector<float> block;
  for (std::int64_t at = first; at < last;) {
    const std::int64_t row = at / columns;
    const std::int64_t end = std::min(last, (row + rows) * columns);
    block.resize(static_cast<std::size_t>(((end - 1) / columns + 1 - row) * row_size));
    read(tensor, row * row_size, block);
    slice.for_each_run(at, end - at, [&](std::int64_t local, std::int64_t logical, std::int64_t count) {
      std::copy_n(block.begin() + (logical - row * row_size), count, destination.begin() + (local - first));
    });
    at = end;
  }
}

CheckpointReader::CheckpointReader(comm::Communicator& group, const std::filesystem::path& file, Between between)
    : state_(std::make_unique<State>()) {
  state_->path = comm::broadcast_text(group, group.rank() == 0 ? resolved(file).string() : "");
  state_->between = std::move(between);
  verify_user_block(group, state_->path, state_->between);
  comm::together(group, [&] { state_->read_contents(); });
}

CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;
CheckpointReader& CheckpointReader::operator=(CheckpointReader&&) noexcept = default;

const std::filesystem::path& CheckpointReader::path() const {
  return state_->path;
}
const CheckpointMeta& CheckpointReader::meta() const {
  return state_->meta;
}
const std::vector<TensorInfo>& CheckpointReader::tensors() const {
  return state_->tensors;
}
const TensorInfo* CheckpointReader::find(const std::string& path) const {
  return state_->find(path);
}

void CheckpointReader::read(const std::string& path, std::int64_t first, std::span<float> destination) const {
  state_->read(state_->known(path), first, destination);
}

void CheckpointReader::read(const std::string& path, const TensorSlice& slice, std::int64_t first,
                            std::span<float> destination) const {
  const TensorInfo& tensor = state_->known(path);
  if (tensor.shape != slice.logical_shape) {
    fail(ExitCode::bad_data, "{}: {} has shape [{}], expected [{}]; it is a checkpoint of another model",
         state_->path.string(), path, fmt::join(tensor.shape, ", "), fmt::join(slice.logical_shape, ", "));
  }
  const auto size = static_cast<std::int64_t>(destination.size());
  ensure(first >= 0 && first + size <= TensorInfo{path, slice.shape()}.count(),
         "checkpoint: a read lies outside its slice");
  if (slice.split == TensorSplit::columns && slice.place.size > 1) {
    state_->read_columns(tensor, slice, first, destination);
    return;
  }
  slice.for_each_run(first, size, [&](std::int64_t local, std::int64_t logical, std::int64_t count) {
    state_->read(tensor, logical,
                 destination.subspan(static_cast<std::size_t>(local - first), static_cast<std::size_t>(count)));
  });
}

NewestGood newest_good(comm::Communicator& group, const std::filesystem::path& folder, const Between& between) {
  std::string names;  // as one rank sees the folder, so that all try the same files
  if (group.rank() == 0) {
    for (const CheckpointFile& file : list_checkpoints(folder)) {
      names += file.path.filename().string() + '\n';
    }
  }
  names = comm::broadcast_text(group, names);
  NewestGood result;
  for (std::size_t at = 0; at < names.size() && !result.checkpoint; at = names.find('\n', at) + 1) {
    const std::filesystem::path path = folder / names.substr(at, names.find('\n', at) - at);
    try {
      result.checkpoint.emplace(group, path, between);  // fails on all ranks or on none
    } catch (const InputError& error) {
      if (error.code() == ExitCode::lost_peer || error.code() == ExitCode::stopped) {
        throw;
      }
      result.bad.emplace_back(error.what());
    }
  }
  return result;
}

}  // namespace hrm::io
