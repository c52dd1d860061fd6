#pragma once
// The run folder of a training run: lock, checkpoints, metrics and status. Rank 0 writes lock, metrics and status;
// every rank writes its part of a checkpoint.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "comm/communicator.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/checkpoint_writer.hpp"
#include "io/metrics.hpp"
#include "io/run_lock.hpp"
#include "io/status.hpp"
#include "train/retention.hpp"
#include "train/run_options.hpp"
#include "train/save_schedule.hpp"
#include "train/train_state.hpp"

namespace hrm::train {

class RunFolder {
 public:
  /// Collective: makes the folder, takes the lock (73 naming the holder), settles the run_id. `staging_bytes`: of
  /// io::CheckpointWriter.
  RunFolder(comm::Communicator& group, const config::RunConfig& config, std::int64_t staging_bytes);
  ~RunFolder();

  /// Collective: find_start, and only then status "starting": a refused start leaves the last verdict alone.
  std::optional<io::CheckpointReader> start_point(const RunOptions& options);

  /// Collective: opens the journal. A new run sets an older one aside; a resumed one appends the cut after `state.step`
  /// and sets aside checkpoints of later steps, which belong to a course that is given up (checkpoint.keep_last of them
  /// stay); latest.h5 points to where the run goes on from.
  void open_metrics(const RunFacts& facts, const TrainState& state, bool resumed);

  /// Collective: the checkpoint to go back to when steps from `blamed` on are to be passed over and those from
  /// `first_refused` on were refused (retention.hpp); damaged ones are passed over with a warning.
  std::optional<io::CheckpointReader> rollback_point(std::int64_t blamed, std::int64_t first_refused);
  /// Collective: the run goes back from step `reached` to `state`: the cut, an event "rollback" that ends with `why`,
  /// and later checkpoints set aside.
  void roll_back(const TrainState& state, std::int64_t reached, const std::string& why);

  /// Rank 0 acts, other ranks return at once.
  void event(std::int64_t step, const std::string& kind, const std::string& text);
  void append(const nlohmann::json& row);
  /// False where the disk took them not.
  bool publish_metrics(bool now);
  void status(const std::string& state, std::optional<int> exit_code, const TrainState& progress, double seconds_left,
              const std::string& reason);

  /// The verdict of a run whose ranks do not answer any more, by the one rank that speaks for it, for the lock's holder
  /// may be the silent one: the last status again, with it. Any thread; writes no journal, for the main thread may be
  /// in the middle of that.
  void lost_peer(std::string reason, std::string suspect_hosts) const noexcept;

  /// The verdict of a run that fails: status, event and end of the job's row. Does nothing for a refused start.
  void fail_with(ExitCode code, const std::string& reason) noexcept;

  io::CheckpointWriter& writer() const { return *writer_; }
  /// Collective: CheckpointWriter::begin_save, and commit; then superseded checkpoints are deleted (retention.hpp).
  void begin_save(io::CheckpointMeta meta, std::span<const io::TensorPart> parts);
  std::filesystem::path commit_save();
  /// After the last event of a save: publishes the metrics, and leaves what it and commit_save() have deleted to the
  /// writer's thread. Rank 0 acts.
  void publish_saved();
  /// Whether latest.h5 leads to this folder's checkpoint of this step; rank 0 asks.
  bool latest_is(std::int64_t step) const;
  /// Whether the journal holds an evaluation of this step; rank 0 asks.
  bool evaluated(std::int64_t step) const;
  /// Failures that the journal of a resumed run tells of, on rank 0; none on other ranks.
  const FailureRecord& failures() const { return failures_; }

  /// 73 unless (keep_last + 2) checkpoints of this size fit. Collective.
  void require_room(const std::vector<io::TensorPart>& parts);

  const std::string& run_id() const { return run_id_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  bool writes() const { return group_.rank() == 0; }
  /// The records are worth less than the run: while the disk is full, rows wait in memory and status and metrics.h5
  /// age. False then.
  bool record(const std::function<void()>& work);
  void set_metrics_aside();
  void set_newer_aside(const std::filesystem::path& kept, std::int64_t step);
  void cut_metrics(const std::string& kind, const std::string& from, std::int64_t step, std::int64_t reached,
                   const std::string& why);
  nlohmann::json job_row() const;
  void continue_jobs(const std::vector<nlohmann::json>& rows);

  comm::Communicator& group_;
  config::RunConfig config_;
  std::filesystem::path path_;
  std::filesystem::path metrics_path_;
  std::string run_id_;
  TrainState progress_;  ///< as status() was last told
  std::optional<io::RunLock> lock_;
  std::unique_ptr<io::CheckpointWriter> writer_;
  Saved saved_;                       ///< the last save begun
  std::vector<io::RawFile> deleted_;  ///< by commit_save(), still open
  io::MetricsHeader header_;
  std::optional<io::MetricsJournal> journal_;
  nlohmann::json job_;
  std::string last_checkpoint_;
  std::filesystem::path resumed_from_;
  FailureRecord failures_;
  bool started_ = false;       ///< a status of this start has been written
  bool records_wait_ = false;  ///< the disk was full once
  Timer since_status_;
};

/// Job id of the batch system (SLURM_JOB_ID, PBS_JOBID, LSB_JOBID), empty outside one.
std::string batch_job_id();

}  // namespace hrm::train
