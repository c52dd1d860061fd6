#pragma once
// One rank's parts of tensors on their way into a file, while the memory they come from is needed for something else
// soon.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "io/block_file.hpp"
#include "io/checkpoint.hpp"

namespace hrm::io {

/// A part, and where its tensor lies.
struct PlacedPart {
  TensorPart part;
  std::size_t tensor = 0;   ///< index of the tensor
  std::int64_t offset = 0;  ///< bytes, of the tensor's first element in the file
};

/// What elements add to the digest of their tensor, and whole words of them to that of the file.
struct DigestSums {
  std::uint64_t tensor = 0;
  std::uint64_t file = 0;
  void add(const DigestSums& other) {
    tensor += other.tensor;
    file += other.file;
  }
};

/// Such sums over pieces of all tensors.
struct PartSums {
  explicit PartSums(std::size_t count) : tensors(count) {}
  void add(std::size_t tensor, const DigestSums& sums) {
    tensors[tensor] += sums.tensor;
    file += sums.file;
  }
  std::vector<std::uint64_t> tensors;
  std::uint64_t file = 0;
  std::vector<std::int64_t> shared_words;  ///< that begin in one piece and end in another
};

/// Writes and digests parts in order. run() works on a thread of its own and allocates nothing unless it fails; the
/// other functions belong to the thread that owns the parts.
class PartWriter {
 public:
  /// `staging` outlives this object: room for elements that release_sources() copies, each part at the same place
  /// within a block as in the file, so that it can be written directly: staging_elements() hold everything.
  PartWriter(BlockFile file, std::vector<PlacedPart> parts, std::size_t tensors, std::span<float> staging);
  static std::int64_t staging_elements(std::span<const TensorPart> parts);

  /// Writes everything and syncs the file; 74 where that fails.
  void run();
  /// The parts' data may change when this returns: it copies what is not written yet into the staging buffer and waits
  /// for the rest. run() has been given to a thread.
  void release_sources();
  /// run() returns soon, without having written everything.
  void cancel();
  /// [tensors] digests of what was written; after run().
  std::vector<std::uint64_t> digests() const;
  /// What the words of the file that begin in what was written add to the digest of the whole file; after run() of all
  /// writers, for words that end in another's data are read back. Allocates nothing.
  std::uint64_t file_digest() const;

 private:
  struct Chunk {
    std::size_t part;
    std::int64_t first;  ///< of the part
    std::span<const float> data;
    bool staged;
  };
  void place_staged();
  std::int64_t most_shared_words() const;
  std::optional<Chunk> next();
  void write(const Chunk& chunk);
  void write_all();
  void stage_part(std::size_t index, std::int64_t skipped);
  void stage();

  BlockFile file_;
  std::vector<PlacedPart> parts_;
  PartSums written_;      ///< of what run() digested as it wrote it …
  PartSums staged_sums_;  ///< … and of what was digested as it was staged
  std::span<float> staging_;
  std::vector<std::int64_t>
      staged_at_;           ///< [parts] place of the part's first element; negative where only its end fits
  std::int64_t total_ = 0;  ///< elements of all parts

  std::mutex mutex_;
  std::condition_variable changed_;
  // Elements are counted over all parts in order.
  std::int64_t fits_from_ = 0;    ///< elements from here on fit into the staging buffer
  std::int64_t taken_ = 0;        ///< written, or being written
  std::int64_t done_ = 0;         ///< written
  std::int64_t staged_from_ = 0;  ///< from here on the staging buffer has the data, once `staged_`
  std::size_t part_ = 0;          ///< that element `taken_` belongs to …
  std::int64_t in_part_ = 0;      ///< … and its place there
  bool released_ = false;
  bool staged_ = true;
  std::atomic<bool> cancelled_ = false;
  bool ended_ = false;
};

}  // namespace hrm::io
