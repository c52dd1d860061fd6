#include "io/part_writer.hpp"

#include <algorithm>
#include <utility>

#include "base/digest.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t chunk_elements = std::int64_t{1} << 23;  // a release waits for one chunk at most
constexpr std::int64_t piece_elements = std::int64_t{1} << 17;  // what a thread stages at a time
constexpr std::int64_t element_bytes = sizeof(float);
constexpr std::int64_t block_elements = direct_block / element_bytes;

/// Where a part's first element stands in the file.
std::int64_t file_place(const PlacedPart& placed) {
  std::int64_t first = placed.part.first;
  placed.part.slice.for_each_run(first, std::min<std::int64_t>(placed.part.count, 1),
                                 [&](std::int64_t, std::int64_t logical, std::int64_t) { first = logical; });
  return placed.offset + first * element_bytes;
}

/// What a run of elements adds to the digests of its tensor and of the file; a word that begins in it and ends behind
/// it goes to `shared` instead.
DigestSums digest_run(std::int64_t place, std::span<const float> data, std::int64_t logical,
                      std::vector<std::int64_t>& shared) {
  DigestSums sums{digest(data, static_cast<std::uint64_t>(logical)), 0};
  const std::span<const std::byte> bytes = std::as_bytes(data);
  const std::int64_t end = place + std::ssize(bytes);
  FileWords words = words_beginning_in({place, end});
  if (words.count == 0) {
    return sums;
  }
  if (words.end() > end) {
    --words.count;
    shared.push_back(words.first + words.count);
  }
  const std::span whole = bytes.subspan(static_cast<std::size_t>(words.begin() - place));
  sums.file = digest_file_words(whole.data(), static_cast<std::size_t>(words.count) * 8,
                                static_cast<std::uint64_t>(words.first));
  return sums;
}

/// The same of elements [first, first + data.size()) of a part.
DigestSums digest_piece(const PlacedPart& placed, std::int64_t first, std::span<const float> data,
                        std::vector<std::int64_t>& shared) {
  DigestSums sums;
  placed.part.slice.for_each_run(
      placed.part.first + first, std::ssize(data), [&](std::int64_t local, std::int64_t logical, std::int64_t length) {
        const auto begin = static_cast<std::size_t>(local - placed.part.first - first);
        sums.add(digest_run(placed.offset + logical * element_bytes,
                            data.subspan(begin, static_cast<std::size_t>(length)), logical, shared));
      });
  return sums;
}

}  // namespace

PartWriter::PartWriter(BlockFile file, std::vector<PlacedPart> parts, std::size_t tensors, std::span<float> staging)
    : file_(std::move(file)), parts_(std::move(parts)), written_(tensors), staged_sums_(tensors), staging_(staging) {
  for (const PlacedPart& placed : parts_) {
    total_ += placed.part.count;
  }
  staged_from_ = total_;
  place_staged();
  written_.shared_words.reserve(static_cast<std::size_t>(most_shared_words()));
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
  const std::int64_t count = std::min({chunk_elements, bound, source.part.count - in_part_});
  const float* data = staged ? staging_.data() + (staged_at_[part_] + in_part_) : source.part.data + in_part_;
  const Chunk chunk{part_, in_part_, {data, static_cast<std::size_t>(count)}, staged};
  in_part_ += count;
  taken_ += count;
  return chunk;
}

/// Runs of a column slice are short and the other ranks of the tensor group own what lies between them, so there is
/// nothing to join: the group shares a node, whose page cache does.
void PartWriter::write(const Chunk& chunk) {
  const PlacedPart& placed = parts_[chunk.part];
  placed.part.slice.for_each_run(placed.part.first + chunk.first, std::ssize(chunk.data),
                                 [&](std::int64_t local, std::int64_t logical, std::int64_t length) {
                                   const auto begin = static_cast<std::size_t>(local - placed.part.first - chunk.first);
                                   file_.write_at(
                                       placed.offset + logical * element_bytes,
                                       std::as_bytes(chunk.data.subspan(begin, static_cast<std::size_t>(length))));
                                 });
  if (!chunk.staged) {
    written_.add(placed.tensor, digest_piece(placed, chunk.first, chunk.data, written_.shared_words));
  }
}

std::vector<std::uint64_t> PartWriter::digests() const {
  std::vector<std::uint64_t> sums = written_.tensors;
  for (std::size_t tensor = 0; tensor < sums.size(); ++tensor) {
    sums[tensor] += staged_sums_.tensors[tensor];
  }
  return sums;
}

std::uint64_t PartWriter::file_digest() const {
  std::uint64_t sum = written_.file + staged_sums_.file;
  for (const std::vector<std::int64_t>* words : {&written_.shared_words, &staged_sums_.shared_words}) {
    for (const std::int64_t word : *words) {
      sum += digest_words(file_.file(), {word, 1});
    }
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

/// By all threads: the next update waits for it. A piece is digested while it is in a cache, which is cheaper than by
/// the thread later; pieces end between words of the file.
void PartWriter::stage_part(std::size_t index, std::int64_t skipped) {
  const PlacedPart& placed = parts_[index];
  const std::int64_t count = placed.part.count;
  const float* from = placed.part.data;
  float* to = staging_.data() + staged_at_[index];
  const std::int64_t shift = (file_place(placed) - user_block_bytes) % 8 == 0 ? 0 : 1;
  const std::int64_t first_piece = skipped / piece_elements;
  const std::int64_t end_piece = (count - shift + piece_elements - 1) / piece_elements;
#pragma omp parallel
  {
    PartSums own(0);
    DigestSums sums;
#pragma omp for schedule(static) nowait
    for (std::int64_t piece = first_piece; piece < std::max(end_piece, first_piece + 1); ++piece) {
      const std::int64_t begin = piece == first_piece ? skipped : piece * piece_elements + shift;
      const std::int64_t end = std::min(count, (piece + 1) * piece_elements + shift);
      if (begin < end) {
        std::copy_n(from + begin, end - begin, to + begin);
        sums.add(digest_piece(placed, begin, {to + begin, static_cast<std::size_t>(end - begin)}, own.shared_words));
      }
    }
#pragma omp critical(hrm_stage_part)
    {
      staged_sums_.add(placed.tensor, sums);
      staged_sums_.shared_words.insert(staged_sums_.shared_words.end(), own.shared_words.begin(),
                                       own.shared_words.end());
    }
  }
}

void PartWriter::stage() {
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const std::int64_t count = parts_[i].part.count;
    const std::int64_t skipped = std::clamp<std::int64_t>(staged_from_ - begin, 0, count);
    if (skipped < count) {
      stage_part(i, skipped);
    }
    begin += count;
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
