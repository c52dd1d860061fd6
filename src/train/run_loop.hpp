#pragma once
// The loop over the steps of a plan and everything it needs, in the order it is made.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "comm/grid.hpp"
#include "data/batch_plan.hpp"
#include "data/loader.hpp"
#include "data/shared_corpus.hpp"
#include "infer/loaded_model.hpp"
#include "io/checkpoint_reader.hpp"
#include "optim/schedule.hpp"
#include "plan/utilization.hpp"
#include "train/learner.hpp"
#include "train/prepare_run.hpp"
#include "train/progress.hpp"
#include "train/recovery.hpp"
#include "train/run_folder.hpp"
#include "train/run_options.hpp"
#include "train/saving.hpp"
#include "train/train_state.hpp"
#include "train/watchdog.hpp"

namespace hrm::train {

/// Construction loads or makes the state; `execute` trains. Everything is collective over the grid's world.
class Run {
 public:
  /// All references outlive this. Closes the checkpoint of `plan`.
  Run(comm::Grid& grid, const RunOptions& options, data::SharedCorpus& corpus, RunPlan& plan,
      const std::optional<infer::LoadedModel>& source, RunFolder& folder, Watchdog& watchdog);
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  /// `ok`, or `stopped` when a checkpoint was written on request.
  ExitCode execute();

 private:
  void resume(const io::CheckpointReader& checkpoint);
  std::string restore(const io::CheckpointReader& checkpoint);
  void start_new(const std::optional<infer::LoadedModel>& source);
  bool step();
  StepResult update(const data::Batch& batch, const optim::StepSchedule& schedule);
  void advance(const data::Batch& batch, const optim::StepSchedule& schedule, bool updated);
  void after_step(const data::Batch& batch, const StepResult& result, double seconds);
  Votes own_votes(std::int64_t step) const;
  Votes share(Votes votes);
  bool end_step(const Votes& votes);
  std::vector<io::TensorPart> parts();
  void roll_back();
  std::optional<std::uint64_t> check_digests();
  void save(const std::string& why, bool last);
  bool evaluate();
  ExitCode finish(ExitCode code, std::string reason);
  std::string stop_reason() const;
  double seconds_left() const;
  bool wants_to_stop(std::int64_t step) const;
  void set_deadline() const;

  comm::Grid& grid_;
  comm::Communicator& world_;
  RunOptions options_;
  const RunFacts& facts_;
  RunFolder& folder_;
  data::BatchPlan& plan_;
  TrainState state_;
  Learner learner_;
  data::Loader loader_;
  plan::Utilization utilization_;
  Evaluation& evaluation_;
  Saving saving_;
  const std::optional<TimeLimit>& limit_;
  Progress progress_;
  Recovery recovery_;
  Watchdog& watchdog_;
  Timer since_start_;
  std::int64_t first_step_ = 0;  // of this start: nothing was done before it
  bool resumed_ = false;
  double seconds_before_ = 0;    // wall seconds of earlier starts
  double step_seconds_ = 0;      // smoothed, for the ETA
  nlohmann::json unlogged_row_;  // of the last step, null where it is in the journal
};

}  // namespace hrm::train
