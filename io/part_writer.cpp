#include "io/part_writer.hpp"

#include <algorithm>
#include <utility>

#include "base/digest.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t chunk_elements = std::int64_t{1} << 20;  // a release waits for one chunk at most
constexpr std::int64_t copy_elements = std::int64_t{1} << 18;   // what a thread copies at a time
constexpr std::int64_t element_bytes = sizeof(float);
constexpr std::int64_t block_elements = direct_block / element_bytes;

/// Where a part's first element stands in the file.
std::int64_t file_place(const PlacedPart& placed) {
  std::int64_t first = placed.part.first;
  placed.part.slice.for_each_run(first, std::min<std::int64_t>(placed.part.count, 1),
                                 [&](std::int64_t, std::int64_t logical, std::int64_t) { first = logical; });
  return placed.offset + first * element_bytes;
}

/// By all threads: what is copied must be copied before the next update.
void copy(const float* from, std::int64_t count, float* to) {
  const std::int64_t pieces = (count + copy_elements - 1) / copy_elements;
#pragma omp parallel for schedule(static) if (pieces > 1)
  for (std::int64_t piece = 0; piece < pieces; ++piece) {
    const std::int64_t first = piece * copy_elements;
    std::copy_n(from + first, std::min(copy_elements, count - first), to + first);
  }
}

}  // namespace

PartWriter::PartWriter(BlockFile file, std::vector<PlacedPart> parts, std::size_t tensors, std::span<float> staging)
    : file_(std::move(file)), parts_(std::move(parts)), digests_(tensors), staging_(staging) {
  for (const PlacedPart& placed : parts_) {
    total_ += placed.part.count;
  }
  staged_from_ = total_;
  place_staged();
  shared_words_.reserve(static_cast<std::size_t>(most_shared_words()));
}

std::int64_t PartWriter::staging_elements(std::span<const TensorPart> parts) {
  std::int64_t elements = block_elements;
  for (const TensorPart& part : parts) {
    elements += part.count + block_elements;
  }
  return elements;
}

/// The last elements, as many as fit: the thread writes what lies before them meanwhile.
void PartWriter::place_staged() {
  const auto origin = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(staging_.data()));
  staged_at_.resize(parts_.size());
  fits_from_ = total_;
  std::int64_t end = std::ssize(staging_);  // of the free room
  for (std::size_t i = parts_.size(); i-- > 0 && end > 0;) {
    const std::int64_t count = parts_[i].part.count;
    const std::int64_t apart = origin + (end - count) * element_bytes - file_place(parts_[i]);
    const std::int64_t too_far = (apart % direct_block + direct_block) % direct_block;
    staged_at_[i] = end - count - too_far / element_bytes;
    end = staged_at_[i];
    fits_from_ -= std::clamp<std::int64_t>(end + count, 0, count);
  }
}

/// At most one at the end of each chunk and of each run.
std::int64_t PartWriter::most_shared_words() const {
  std::int64_t most = total_ / chunk_elements + 2 * std::ssize(parts_) + 1;
  for (const PlacedPart& placed : parts_) {
    placed.part.slice.for_each_run(
        placed.part.first, placed.part.count, [&](std::int64_t, std::int64_t logical, std::int64_t length) {
          most += (placed.offset + (logical + length) * element_bytes - user_block_bytes) % 8 != 0;
        });
  }
  return most;
}

std::optional<PartWriter::Chunk> PartWriter::next() {
  std::unique_lock lock(mutex_);
  done_ = taken_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return cancelled_ || taken_ < staged_from_ || staged_; });
  if (cancelled_ || taken_ == total_) {
    return std::nullopt;
  }
  while (in_part_ == parts_[part_].part.count) {
    ++part_;
    in_part_ = 0;
  }
  const PlacedPart& source = parts_[part_];
  const bool staged = taken_ >= staged_from_;
  const std::int64_t bound = (staged ? total_ : staged_from_) - taken_;
  Chunk chunk{&source, source.part.first + in_part_, std::min({chunk_elements, bound, source.part.count - in_part_}),
              staged ? staging_.data() + (staged_at_[part_] + in_part_) : source.part.data + in_part_};
  in_part_ += chunk.count;
  taken_ += chunk.count;
  return chunk;
}

/// Runs of a column slice are short and the other ranks of the tensor group own what lies between them, so there is
/// nothing to join: the group shares a node, whose page cache does.
void PartWriter::write(const Chunk& chunk) {
  chunk.source->part.slice.for_each_run(
      chunk.first, chunk.count, [&](std::int64_t local, std::int64_t logical, std::int64_t length) {
        const std::span data(chunk.data + (local - chunk.first), static_cast<std::size_t>(length));
        const std::int64_t place = chunk.source->offset + logical * element_bytes;
        file_.write_at(place, std::as_bytes(data));
        digests_[chunk.source->tensor] += digest(data, static_cast<std::uint64_t>(logical));
        digest_run(place, std::as_bytes(data));
      });
}

/// Adds the words that begin in a run to the digest of the file, or to those to be read back.
void PartWriter::digest_run(std::int64_t offset, std::span<const std::byte> data) {
  const std::int64_t end = offset + std::ssize(data);
  FileWords words = words_beginning_in({offset, end});
  if (words.count == 0) {
    return;
  }
  if (words.end() > end) {
    --words.count;
    shared_words_.push_back(words.first + words.count);
  }
  const std::span whole = data.subspan(static_cast<std::size_t>(words.begin() - offset));
  file_digest_ += digest_file_words(whole.data(), static_cast<std::size_t>(words.count) * 8,
                                    static_cast<std::uint64_t>(words.first));
}

std::uint64_t PartWriter::file_digest() const {
  std::uint64_t sum = file_digest_;
  for (const std::int64_t word : shared_words_) {
    sum += digest_words(file_.file(), {word, 1});
  }
  return sum;
}

void PartWriter::write_all() {
  while (const std::optional<Chunk> chunk = next()) {
    write(*chunk);
  }
  if (!cancelled_) {
    file_.sync();
  }
}

void PartWriter::run() {
  const auto end = [this] {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
  };
  try {
    write_all();
  } catch (...) {
    end();
    throw;
  }
  end();
}

void PartWriter::stage() {
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const TensorPart& part = parts_[i].part;
    const std::int64_t skipped = std::clamp<std::int64_t>(staged_from_ - begin, 0, part.count);
    if (skipped < part.count) {
      copy(part.data + skipped, part.count - skipped, staging_.data() + (staged_at_[i] + skipped));
    }
    begin += part.count;
  }
}

void PartWriter::release_sources() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(released_, true) || ended_) {
      return;
    }
    staged_from_ = std::max(taken_, fits_from_);
    staged_ = false;
  }
  stage();
  std::unique_lock lock(mutex_);
  staged_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return done_ >= staged_from_ || ended_; });
}

void PartWriter::cancel() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_all();
}

}  // namespace hrm::io
