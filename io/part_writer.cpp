#include "io/part_writer.hpp"

#include <algorithm>
#include <utility>

#include "base/digest.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t chunk_elements = std::int64_t{1} << 20;  // a release waits for one chunk at most

}  // namespace

PartWriter::PartWriter(RawFile file, std::vector<PlacedPart> parts, std::size_t tensors, std::span<float> staging)
    : file_(std::move(file)), parts_(std::move(parts)), digests_(tensors), staging_(staging) {
  for (const PlacedPart& placed : parts_) {
    total_ += placed.part.count;
  }
  staged_from_ = total_;
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
              staged ? staging_.data() + (taken_ - staged_from_) : source.part.data + in_part_};
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
        const std::int64_t place = logical * static_cast<std::int64_t>(sizeof(float));
        file_.write_at(chunk.source->offset + place, std::as_bytes(data));
        digests_[chunk.source->tensor] += digest(data, static_cast<std::uint64_t>(logical));
      });
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

/// The last elements, as many as fit: the thread writes what lies before them meanwhile.
void PartWriter::stage() {
  std::int64_t begin = 0;
  for (const PlacedPart& placed : parts_) {
    const std::int64_t skipped = std::clamp<std::int64_t>(staged_from_ - begin, 0, placed.part.count);
    std::copy_n(placed.part.data + skipped, placed.part.count - skipped,
                staging_.data() + std::max<std::int64_t>(begin - staged_from_, 0));
    begin += placed.part.count;
  }
}

void PartWriter::release_sources() {
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(released_, true) || ended_) {
      return;
    }
    staged_from_ = std::max(taken_, total_ - std::ssize(staging_));
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
