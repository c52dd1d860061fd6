#pragma once
// The saves of a run: when they are due, in the background or at once (checkpoint.async), and what a failed one means.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/timer.hpp"
#include "comm/communicator.hpp"
#include "config/run_config.hpp"
#include "train/run_folder.hpp"
#include "train/save_schedule.hpp"

namespace hrm::train {

/// One save at a time: begun at a step's end, its parts written while the next forward and backward run, released just
/// before weights change (where they are no copy), committed at the end of a step by which all ranks are done; a second
/// one waits for the first.
///
/// A failed save (disk full, I/O error) is a warning and an event `save_failed`: its temporary is gone, older
/// checkpoints stay, the next save tries again. The second failure in a row, and that of the last save, is 74. All
/// ranks decide the same.
class Saving {
 public:
  /// `folder` outlives this object, and so do the parts.
  Saving(comm::Communicator& world, RunFolder& folder, const config::CheckpointConfig& config);
  ~Saving();  ///< gives up a save under way
  Saving(const Saving&) = delete;
  Saving& operator=(const Saving&) = delete;

  const SaveSchedule& schedule() const { return schedule_; }
  void set_record(const FailureRecord& record) { schedule_.set_record(record); }
  /// Such parts are what saves will write.
  void expect(const std::vector<io::TensorPart>& parts);
  /// Asked on one rank, whose answer is shared: no save is due by time while one is under way.
  bool due_by_time() const { return !under_way() && schedule_.due_by_time(); }
  bool under_way() const { return folder_.writer().saving(); }

  /// Gives the parts of a checkpoint, once: what it takes (a copy from a device) is part of the save's cost.
  using Parts = std::function<std::vector<io::TensorPart>()>;

  /// Begins a save; without checkpoint.async also ends it. Collective.
  void start(io::CheckpointMeta meta, const Parts& parts, const std::string& why);
  /// The last save of a run: on disk when this returns; a failure is thrown. Collective.
  void save_last(io::CheckpointMeta meta, const Parts& parts, const std::string& why);
  /// Ends a save under way. Collective.
  void settle();

  /// Weights and optimizer state may change when this returns.
  void release_sources();
  /// This rank's vote (Votes::written) and, at the step's end, what follows from the sum of all. Collective.
  double written() const { return folder_.writer().ready() ? 1 : 0; }
  void advance(double written);

  /// Seconds that the run stood still for saves since the last call.
  double take_stall();

 private:
  template <class Work>
  void attempt(Work&& work);
  void begin(io::CheckpointMeta meta, const Parts& parts, const std::string& why);
  void committed(const std::string& file);
  void failed(const std::string& reason);

  comm::Communicator& world_;
  RunFolder& folder_;
  bool async_;
  SaveSchedule schedule_;
  std::int64_t step_ = 0;  ///< of the last save begun
  std::string why_;        ///< of the same
  double stall_ = 0;       ///< of the save under way
  double untaken_stall_ = 0;
  int failures_ = 0;   ///< in a row
  bool last_ = false;  ///< no later save could make a failure good
};

}  // namespace hrm::train
