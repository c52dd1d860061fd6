#include "train/run.hpp"

#include <algorithm>

#include "base/digest.hpp"
#include "base/log.hpp"
#include "comm/grid.hpp"
#include "comm/use_device.hpp"
#include "config/resolve.hpp"
#include "data/batch_plan.hpp"
#include "data/loader.hpp"
#include "data/shared_corpus.hpp"
#include "infer/pack_view.hpp"
#include "io/state_digest.hpp"
#include "optim/schedule.hpp"
#include "train/announce.hpp"
#include "train/evaluation.hpp"
#include "train/init_from.hpp"
#include "train/learner.hpp"
#include "train/metrics_row.hpp"
#include "train/prepare_run.hpp"
#include "train/progress.hpp"
#include "train/recovery.hpp"
#include "train/replicas.hpp"
#include "train/run_folder.hpp"
#include "train/saving.hpp"
#include "train/stop_request.hpp"
#include "train/time_limit.hpp"
#include "train/train_state.hpp"
#include "train/watchdog.hpp"

namespace hrm::train {
namespace {

/// Everything a run consists of, in the order it is made.
class Run {
 public:
  Run(comm::Grid& grid, const RunOptions& options, data::SharedCorpus& corpus, RunFacts facts,
      const std::optional<infer::LoadedModel>& source, RunFolder& folder);
  ExitCode execute();

 private:
  void resume(const io::CheckpointReader& checkpoint);
  std::string restore(const io::CheckpointReader& checkpoint);
  void start_new(const std::optional<infer::LoadedModel>& source);
  void check_plan() const;
  bool step();
  StepResult update(const data::Batch& batch, const optim::StepSchedule& schedule);
  void advance(const data::Batch& batch, const optim::StepSchedule& schedule, bool updated);
  void after_step(const data::Batch& batch, const StepResult& result, double seconds);
  bool end_step(const Votes& votes);
  void roll_back();
  std::optional<std::uint64_t> check_digests();
  void save(const std::string& why, bool last);
  void evaluate();
  ExitCode finish(ExitCode code, const std::string& reason);
  std::string stop_reason() const;
  double seconds_left() const;
  bool wants_to_stop(std::int64_t step) const;
  bool out_of_time() const;

  comm::Grid& grid_;
  comm::Communicator& world_;
  RunOptions options_;
  RunFacts facts_;
  std::vector<data::SamplingRule> sampling_;
  RunFolder& folder_;
  std::optional<io::CheckpointReader> stored_;
  data::BatchPlan plan_;
  TrainState state_;
  Learner learner_;
  data::Loader loader_;
  Evaluation evaluation_;
  Saving saving_;
  std::optional<TimeLimit> limit_;
  Progress progress_;
  Recovery recovery_;
  Watchdog watchdog_;
  Timer since_start_;
  std::int64_t first_step_ = 0;    // of this start: nothing was done before it
  double seconds_before_ = 0;      // wall seconds of earlier starts
  double step_seconds_ = 0;        // smoothed, for the ETA
  double seconds_evaluation_ = 0;  // of the last evaluation
};

std::optional<io::CheckpointReader> open_start(comm::Communicator& world, RunFolder& folder, const RunOptions& options,
                                               RunFacts& facts) {
  std::optional<io::CheckpointReader> stored = folder.start_point(options);
  settle_precision(world, facts, stored ? stored->meta().precision : "");
  if (stored) {
    check_identity(stored->meta(), facts, stored->path().string());
  }
  return stored;
}

Run::Run(comm::Grid& grid, const RunOptions& options, data::SharedCorpus& corpus, RunFacts facts,
         const std::optional<infer::LoadedModel>& source, RunFolder& folder)
    : grid_(grid),
      world_(*grid.world),
      options_(options),
      facts_(std::move(facts)),
      sampling_(read_rules(world_, facts_)),
      folder_(folder),
      stored_(open_start(world_, folder_, options, facts_)),
      plan_(corpus.node(), corpus.table(), facts_.config.train, facts_.config.model.max_seq_len, sampling_),
      learner_(grid, facts_.config, config::precision_type(facts_.precision)),
      loader_(world_, corpus, plan_, learner_.share(), data::supervise_by(facts_.config.train.loss)),
      evaluation_(grid, facts_),
      saving_(world_, folder_, facts_.config.checkpoint),
      limit_(find_time_limit(facts_.config.run.time_limit)),
      recovery_(facts_.config.guard, folder_, progress_),
      watchdog_(world_, facts_.config.watchdog, folder.path(),
                [this](const auto& text, const auto& hosts) { folder_.lost_peer(text, hosts); }) {
  check_plan();
  folder_.require_room(learner_.checkpoint_parts());
  state_.planned_steps = plan_.steps();
  stored_ ? resume(*stored_) : start_new(source);
  saving_.set_record(folder_.failures());
  state_.run_id = folder_.run_id();
  first_step_ = state_.step;
  stored_.reset();
}

void Run::check_plan() const {
  const std::int64_t warmup = facts_.config.train.lr_warmup_steps;
  if (warmup >= plan_.steps()) {
    fail(ExitCode::bad_config, "train.lr_warmup_steps = {} must be below the planned {} steps", warmup, plan_.steps());
  }
}

/// Weights and state as they were stored. Returns what the checkpoint does not hold.
std::string Run::restore(const io::CheckpointReader& checkpoint) {
  std::string missing;
  comm::together(world_, [&] { missing = learner_.restore(checkpoint); });
  io::check_restored(world_, checkpoint, learner_.checkpoint_parts());
  learner_.loaded();
  state_ = from_meta(checkpoint.meta());
  state_.run_id = folder_.run_id();
  state_.planned_steps = plan_.steps();
  return missing;
}

void Run::resume(const io::CheckpointReader& checkpoint) {
  const std::string missing = restore(checkpoint);
  recovery_.guard().restore(checkpoint.meta());
  seconds_before_ = state_.wall_seconds;
  folder_.open_metrics(facts_, state_, true);
  for (const std::string& text : changes_since(checkpoint.meta(), facts_, plan_.steps(), missing)) {
    folder_.event(state_.step, "layout", text);
  }
}

void Run::start_new(const std::optional<infer::LoadedModel>& source) {
  if (source) {
    learner_.initialise([&](const Parameter& row, std::int64_t first, std::span<float> values) {
      const float* from = row.trainable ? source->flat.data() + row.offset : source->zl_init.data();
      std::copy_n(from + first, values.size(), values.begin());
    });
  } else {
    learner_.initialise();
  }
  folder_.open_metrics(facts_, state_, false);
}

/// This rank's wish to stop after `step`; ranks agree on it through a sum. Only rank 0's clock counts.
bool Run::wants_to_stop(std::int64_t step) const {
  const bool asked = options_.stop_after > 0 && step >= options_.stop_after;
  return stop_requested() || asked || (world_.rank() == 0 && out_of_time());
}

/// Whether the next step might leave too little time to save: two steps, two saves, an evaluation that may be due, and
/// some seconds for the exit.
bool Run::out_of_time() const {
  return limit_ && wall_clock() + 2 * step_seconds_ + 2 * saving_.schedule().cost_seconds() + seconds_evaluation_ + 5 >
                       limit_->end_time;
}

double Run::seconds_left() const {
  return step_seconds_ * static_cast<double>(plan_.steps() - state_.step);
}

/// One step of the plan. Ends true when the run was asked to stop.
///   1. the batch's packs are there (read ahead), 2. forward and backward of each own pack, 3. gradients and sums are
///   reduced and, unless the guard refuses them, the weights updated, 4. records: state, metrics, progress, a save when
///   one is due. A step that was refused or is passed over counts as a step all the same: its batch is behind the run.
bool Run::step() {
  const Timer timer;
  const std::int64_t number = state_.step + 1;
  const optim::StepSchedule schedule = optim::schedule(facts_.config, number, plan_.steps());
  watchdog_.enter("load", number);
  learner_.poll();
  loader_.load(number);
  learner_.poll();
  const data::Batch& batch = loader_.batch();
  learner_.add_data_seconds(timer.seconds());
  if (recovery_.guard().passes_over(number)) {
    advance(batch, schedule, false);
    folder_.event(number, "skip", "passed over");
    return end_step({});
  }
  StepResult result = update(batch, schedule);
  advance(batch, schedule, result.updated);
  after_step(batch, result, timer.seconds());
  return end_step(result.votes);
}

StepResult Run::update(const data::Batch& batch, const optim::StepSchedule& schedule) {
  const model::Horizon horizon{schedule.backward_steps};
  const double divisor = static_cast<double>(batch.supervised_total) / static_cast<double>(batch.packs());
  watchdog_.enter("compute", batch.step);
  learner_.begin_step();
  for (const data::Pack& pack : loader_.packs()) {
    learner_.accumulate(infer::view(pack), horizon, divisor);
  }
  Votes votes;
  votes.stop = wants_to_stop(batch.step) ? 1 : 0;
  votes.save = world_.rank() == 0 && saving_.due_by_time() ? 1 : 0;
  votes.written = saving_.written();
  watchdog_.enter("update", batch.step);
  return recovery_.finish_step(learner_, batch.step, schedule, votes, [&] { saving_.release_sources(); });
}

void Run::roll_back() {
  watchdog_.enter("rollback", state_.step);
  saving_.settle();  // its file may be the one to go back to, and its parts are about to change
  const std::int64_t reached = state_.step;
  const Rollback back = recovery_.go_back();
  restore(back.checkpoint);
  folder_.roll_back(state_, reached, back.passed_over);
}

void Run::advance(const data::Batch& batch, const optim::StepSchedule& schedule, bool updated) {
  state_.step = batch.step;
  state_.epoch = batch.epoch;
  state_.epoch_position = batch.epoch_position + static_cast<std::int64_t>(batch.samples.size());
  state_.samples_seen += updated ? static_cast<std::int64_t>(batch.samples.size()) : 0;
  state_.tokens_seen += updated ? batch.used_total : 0;
  state_.bp_steps = schedule.backward_steps;
  state_.learning_rate = schedule.learning_rate;
  state_.wall_seconds = seconds_before_ + since_start_.seconds();
}

/// What is due after a step. Ends true when the run was asked to stop.
bool Run::end_step(const Votes& votes) {
  saving_.advance(votes.written);
  const bool goes_on = state_.step < plan_.steps() && votes.stop == 0 && !recovery_.guard().wants_rollback();
  if (goes_on && evaluation_.due(state_.step)) {
    evaluate();
  }
  if (goes_on && (saving_.schedule().due_by_steps(state_.step) || votes.save > 0)) {
    save("interval", false);
  }
  return votes.stop > 0;
}

/// What guard.digest_interval asks for after a step: replicas that differ end the run; the digest of the state.
std::optional<std::uint64_t> Run::check_digests() {
  const std::int64_t interval = facts_.config.guard.digest_interval;
  if (interval == 0 || state_.step % interval != 0) {
    return std::nullopt;
  }
  require_equal_replicas(grid_, learner_, state_.step);
  return io::state_digest(world_, learner_.checkpoint_parts());
}

void Run::after_step(const data::Batch& batch, const StepResult& result, double seconds) {
  step_seconds_ = step_seconds_ == 0 ? seconds : 0.9 * step_seconds_ + 0.1 * seconds;
  const bool last = state_.step == plan_.steps() || result.votes.stop > 0;
  const std::optional<std::uint64_t> digest = check_digests();
  if (state_.step % facts_.config.train.log_interval == 0 || last || digest) {
    const auto tokens = static_cast<double>(result.sums.tokens);
    nlohmann::json row = metrics_row(state_, batch, plan_.slots(), result, seconds);
    row["seconds_checkpoint"] = saving_.take_stall();
    if (digest) {
      row["state_digest"] = hex(*digest);
    }
    folder_.append(row);
    progress_.show({state_.step, plan_.steps(), result.sums.loss_sum / tokens,
                    static_cast<double>(result.sums.correct) / tokens,
                    static_cast<double>(batch.used_total) / step_seconds_, seconds_left()});
  }
  folder_.publish_metrics(false);
  folder_.status("running", std::nullopt, state_, seconds_left(), "");
}

void Run::save(const std::string& why, bool last) {
  watchdog_.enter(last ? "last save" : "save", state_.step);  // the last one waits for all of its bytes
  io::CheckpointMeta meta = to_meta(state_, facts_, plan_.cursors(std::max<std::int64_t>(state_.step, 1)));
  recovery_.guard().store(meta);
  if (last || !facts_.config.checkpoint.async) {
    folder_.status("saving", std::nullopt, state_, seconds_left(), why);
  }
  last ? saving_.save_last(std::move(meta), learner_.checkpoint_parts(), why)
       : saving_.start(std::move(meta), learner_.checkpoint_parts(), why);
  folder_.status("running", std::nullopt, state_, seconds_left(), "");
}

void Run::evaluate() {
  watchdog_.enter("evaluation", state_.step);
  const Timer timer;
  progress_.finish();
  for (const nlohmann::json& row : evaluation_.run(learner_, state_.step)) {
    folder_.append(row);
  }
  folder_.publish_metrics(true);
  seconds_evaluation_ = timer.seconds();
}

/// A start that made no step has nothing to add to a checkpoint that is there already.
ExitCode Run::finish(ExitCode code, const std::string& reason) {
  progress_.finish();
  const bool no_step = state_.step == first_step_ && first_step_ > 0;
  // Rank 0 looks for all: nodes may see a shared folder differently for a while, and a save needs every rank.
  double there = world_.rank() == 0 && std::filesystem::exists(folder_.path() / "latest.h5") ? 1 : 0;
  world_.sum(std::span<double>(&there, 1));
  const bool nothing_new = no_step && there > 0;
  if (!nothing_new) {
    save(reason, true);
  }
  if (code == ExitCode::ok && !nothing_new) {
    evaluate();
  }
  folder_.event(state_.step, code == ExitCode::ok ? "finish" : "stop", reason);
  folder_.status(io::state_of_exit(static_cast<int>(code)), static_cast<int>(code), state_, 0, reason);
  folder_.publish_metrics(true);
  log::info("{} at step {} of {}; the checkpoint is {}", reason, state_.step, plan_.steps(),
            (folder_.path() / "latest.h5").string());
  return code;
}

std::string Run::stop_reason() const {
  if (stop_requested()) {
    return fmt::format("stopped by {}", stop_signal());
  }
  const bool asked = options_.stop_after > 0 && state_.step >= options_.stop_after;
  return asked ? "stopped by --stop-after" : "stopped ahead of the time limit, or by a signal to another rank";
}

ExitCode Run::execute() {
  announce(facts_, state_, learner_.table().total_count, limit_);
  folder_.status("running", std::nullopt, state_, 0, "");
  double votes = wants_to_stop(state_.step) ? 1 : 0;
  world_.sum(std::span<double>(&votes, 1));
  bool stop = votes > 0;
  while (!stop && (state_.step < plan_.steps() || recovery_.guard().wants_rollback())) {
    if (recovery_.guard().wants_rollback()) {
      roll_back();
    }
    stop = step();
  }
  if (!stop && !recovery_.guard().refused().empty()) {
    log::warn("the last {} step(s) of the plan were refused: look at the losses before you use these weights",
              recovery_.guard().refused().size());
  }
  if (state_.step >= plan_.steps()) {
    return finish(ExitCode::ok, "finished");
  }
  return finish(ExitCode::stopped, stop_reason());
}

}  // namespace

ExitCode train(comm::Communicator& world, const config::RunConfig& given, const RunOptions& options) {
  config::RunConfig config = given;
  config::check_training(config);
  config::check_model(config.model);
  comm::Grid grid = comm::make_grid(world, config.parallel.tensor);
  comm::use_device(grid, comm::choose_device(world, config.device.type), config.watchdog.least_seconds);
  std::optional<infer::LoadedModel> source = load_source(grid, options, config);
  data::SharedCorpus corpus(world, config.data.path);
  RunFacts facts = make_facts(world.size(), config, corpus.info(), grid.device->type(),
                             comm::device_fingerprint(*grid.device));
  check_same_facts(world, facts);
  if (source) {
    check_source(*source, facts);
  }
  RunFolder folder(world, facts.config);
  try {
    Run run(grid, options, corpus, facts, source, folder);
    source.reset();
    return run.execute();
  } catch (const InputError& error) {
    folder.fail_with(error.code(), error.what());  // the verdict outlives the launcher; main reports
    throw;
  } catch (const std::exception& error) {
    folder.fail_with(ExitCode::internal, error.what());
    throw;
  }
}

}  // namespace hrm::train
