#pragma once
// Reading a checkpoint: any rank reads any flat range of any tensor. The file's digest is checked before HDF5 opens it.
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint.hpp"
#include "io/user_block.hpp"

namespace hrm::io {

class CheckpointReader {
 public:
  /// Verifies the whole-file digest (ranks share the bytes) and reads the metadata. Collective. 66 where the file is
  /// missing, 65 where it is damaged or no checkpoint. `between` is called in this and in every read(). A link is
  /// followed once, by rank 0.
  CheckpointReader(comm::Communicator& group, const std::filesystem::path& file, Between between = {});
  ~CheckpointReader();
  CheckpointReader(CheckpointReader&&) noexcept;
  CheckpointReader& operator=(CheckpointReader&&) noexcept;

  /// Of the file that was read, the same on all ranks: where a link led to.
  const std::filesystem::path& path() const;
  const CheckpointMeta& meta() const;
  /// All tensors under /model, /optimizer, /ema, sorted by path.
  const std::vector<TensorInfo>& tensors() const;
  /// Null where there is none.
  const TensorInfo* find(const std::string& path) const;

  /// Elements [first, first + count) of the flattened tensor. Not collective. 65 for an unknown path.
  void read(const std::string& path, std::int64_t first, std::span<float> destination) const;
  /// Elements [first, first + count) of a slice of the tensor, whose logical shape must be the stored one (65).
  void read(const std::string& path, const TensorSlice& slice, std::int64_t first, std::span<float> destination) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The newest checkpoint of `folder` that verifies, whatever latest.h5 points to. Collective; same answer on every
/// rank. What `between` throws with the code `stopped` ends the search.
struct NewestGood {
  std::optional<CheckpointReader> checkpoint;  ///< empty where none is good
  std::vector<std::string> bad;                ///< why each newer file was refused, newest first
};
NewestGood newest_good(comm::Communicator& group, const std::filesystem::path& folder, const Between& between = {});

}  // namespace hrm::io
