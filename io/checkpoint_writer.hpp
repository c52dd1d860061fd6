#pragma once
// Saving a checkpoint with all ranks: begin_save / advance / commit, while the program does something else in between.
// All metadata are written by one rank; a thread of every rank writes its parts and digests its share of the file. A
// crash at any instant leaves earlier checkpoints usable and at most one temporary.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "io/checkpoint.hpp"
#include "io/disk.hpp"

namespace hrm::io {

/// Memory that data pass through on their way past the page cache; held from the first save on.
inline constexpr std::int64_t save_bounce_bytes = std::int64_t{1} << 24;

/// One save at a time. begin_save(), advance(), commit() and save() are collective; failures on one rank are thrown on
/// all (73 cannot create, 74 disk full or I/O error), the temporary is removed, older files are untouched, and the
/// writer can be used again.
class CheckpointWriter {
 public:
  /// Run folder, made if missing. `run_id` names the temporaries; remains of this run (never another's) are removed.
  /// `staging_bytes`: the most memory that release_sources() may copy into; taken by prepare() or the first save, at
  /// most what this rank's parts need.
  CheckpointWriter(comm::Communicator& group, std::filesystem::path folder, std::string run_id,
                   std::int64_t staging_bytes = 0);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  /// Takes the memory that saves of these parts need, and touches it, so that the first save does not wait for it. Not
  /// collective.
  void prepare(std::span<const TensorPart> parts);
  /// Creates the temporary with all metadata and starts to write. The parts' data stay unchanged until
  /// release_sources() or commit() has returned.
  void begin_save(CheckpointMeta meta, std::span<const TensorPart> parts);
  /// The parts' data of a save in flight, if any, may change when this returns: what is not written yet is copied, and
  /// what does not fit into the staging memory is waited for. Not collective, never fails.
  void release_sources();
  /// Whether a save is in flight and advance() need not wait for this rank's thread. Not collective.
  bool ready() const;
  /// Goes on when all ranks' threads are done with what they do: first the parts, then the digest of the file. True
  /// when only commit() is left.
  bool advance();
  /// User block, rename, latest.h5. Returns the final path.
  std::filesystem::path commit();
  bool saving() const;
  /// Gives up a save in flight and removes its temporary. Not collective, does not throw.
  void abandon() noexcept;
  /// The thread closes these files before the next save begins: giving back the room of a deleted one takes some file
  /// systems 0.2 s a GB. No save is in flight. Not collective.
  void close_behind(std::vector<RawFile> files);
  /// Seconds that this rank's thread took for the last save.
  double background_seconds() const;
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

}  // namespace hrm::io
