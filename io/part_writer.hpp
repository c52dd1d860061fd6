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

#include "io/checkpoint.hpp"
#include "io/disk.hpp"

namespace hrm::io {

/// A part, and where its tensor lies.
struct PlacedPart {
  TensorPart part;
  std::size_t tensor = 0;   ///< index of the tensor
  std::int64_t offset = 0;  ///< bytes, of the tensor's first element in the file
};

/// Writes and digests parts in order. run() works on a thread of its own and allocates nothing unless it fails; the
/// other functions belong to the thread that owns the parts.
class PartWriter {
 public:
  /// `staging` outlives this object: room for elements that release_sources() copies.
  PartWriter(RawFile file, std::vector<PlacedPart> parts, std::size_t tensors, std::span<float> staging);

  /// Writes everything and syncs the file; 74 where that fails.
  void run();
  /// The parts' data may change when this returns: it copies what is not written yet into the staging buffer and waits
  /// for the rest. run() has been given to a thread.
  void release_sources();
  /// run() returns soon, without having written everything.
  void cancel();
  /// [tensors] digests of what was written; after run().
  const std::vector<std::uint64_t>& digests() const { return digests_; }

 private:
  struct Chunk {
    const PlacedPart* source;
    std::int64_t first;  ///< of the part's slice
    std::int64_t count;
    const float* data;
  };
  std::optional<Chunk> next();
  void write(const Chunk& chunk);
  void write_all();
  void stage();

  RawFile file_;
  std::vector<PlacedPart> parts_;
  std::vector<std::uint64_t> digests_;
  std::span<float> staging_;
  std::int64_t total_ = 0;  ///< elements of all parts

  std::mutex mutex_;
  std::condition_variable changed_;
  // Elements are counted over all parts in order.
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
