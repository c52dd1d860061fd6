#pragma once
// Saving a checkpoint with all ranks: begin_save / advance / commit. A crash at any instant leaves earlier checkpoints
// usable and at most one temporary.
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "comm/communicator.hpp"
#include "io/checkpoint.hpp"

namespace hrm::io {

/// One save at a time. Every member function is collective; failures on one rank are thrown on all (73 cannot create,
/// 74 disk full or I/O error), the temporary is removed, older files are untouched, and the writer can be used again.
class CheckpointWriter {
 public:
  /// Run folder, made if missing. `run_id` names the temporaries; remains of this run (never another's) are removed.
  CheckpointWriter(comm::Communicator& group, std::filesystem::path folder, std::string run_id);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Creates the temporary with all metadata. `parts` data must stay unchanged until commit().
  void begin_save(CheckpointMeta meta, std::span<const TensorPart> parts);
  /// Writes a bounded piece of this rank's data (256 MiB); true when all ranks have written everything.
  bool advance();
  /// Digests, sync, rename, latest.h5. Returns the final path.
  std::filesystem::path commit();
  bool saving() const;
  /// Gives up a save in flight and removes its temporary. Does not throw.
  void abandon() noexcept;
  /// state_digest of the last committed checkpoint.
  std::uint64_t state_digest() const;

  /// begin_save, advance until done, commit.
  std::filesystem::path save(CheckpointMeta meta, std::span<const TensorPart> parts);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Bytes a checkpoint with these tensors takes (each path counted once), for free-space checks.
std::int64_t checkpoint_bytes(std::span<const TensorPart> parts);

/// Deletes old checkpoints of `folder`: keeps the newest `keep_last` (at least 1), every step that is a multiple of
/// `keep_every` (0: none), and always the target of latest.h5. One rank calls it. Returns what was deleted.
std::vector<std::filesystem::path> delete_old_checkpoints(const std::filesystem::path& folder, std::int64_t keep_last,
                                                          std::int64_t keep_every);

}  // namespace hrm::io
