#include "train/run.hpp"

#include "base/digest.hpp"
#include "base/log.hpp"
#include "config/resolve.hpp"
#include "data/batch_plan.hpp"
#include "data/loader.hpp"
#include "data/shared_corpus.hpp"
#include "infer/pack_view.hpp"
#include "optim/schedule.hpp"
#include "train/evaluation.hpp"
#include "train/learner.hpp"
#include "train/prepare_run.hpp"
#include "train/progress.hpp"
#include "train/run_folder.hpp"
#include "train/save_schedule.hpp"
#include "train/stop_request.hpp"
#include "train/time_limit.hpp"
#include "train/train_state.hpp"

namespace hrm::train {
namespace {

/// Everything a run consists of, in the order it is made.
class Run {
 public:
  Run(comm::Communicator& world, const config::RunConfig& config, const RunOptions& options);
  ExitCode execute();

 private:
  void resume(const io::CheckpointReader& checkpoint);
  void start_new();
  void check_plan() const;
  void announce() const;
  bool step();
  void after_step(const data::Batch& batch, const StepResult& result, double seconds);
  nlohmann::json metrics_row(const data::Batch& batch, const StepResult& result, double seconds) const;
  void save(const std::string& why);
  void evaluate();
  ExitCode finish(ExitCode code, const std::string& reason);
  std::string stop_reason() const;
  double seconds_left() const;
  bool out_of_time() const;

  comm::Communicator& world_;
  RunOptions options_;
  data::SharedCorpus corpus_;
  RunFacts facts_;
  std::vector<data::SamplingRule> sampling_;
  RunFolder folder_;
  std::optional<io::CheckpointReader> stored_;
  data::BatchPlan plan_;
  TrainState state_;
  Learner learner_;
  data::Loader loader_;
  Evaluation evaluation_;
  SaveSchedule saves_;
  std::optional<TimeLimit> limit_;
  Progress progress_;
  Timer since_start_;
  double seconds_before_ = 0;      // wall seconds of earlier starts
  double step_seconds_ = 0;        // smoothed, for the ETA
  double seconds_checkpoint_ = 0;  // of the save after the last step
};

std::optional<io::CheckpointReader> open_start(RunFolder& folder, const RunOptions& options, RunFacts& facts) {
  std::optional<io::CheckpointReader> stored = folder.start_point(options);
  settle_precision(facts, stored ? stored->meta().precision : "");
  if (stored) {
    check_identity(stored->meta(), facts, stored->path().string());
  }
  return stored;
}

Run::Run(comm::Communicator& world, const config::RunConfig& config, const RunOptions& options)
    : world_(world),
      options_(options),
      corpus_(world, config.data.path),
      facts_(make_facts(world.size(), config, corpus_.info())),
      sampling_(read_rules(world, facts_)),
      folder_(world, facts_.config),
      stored_(open_start(folder_, options, facts_)),
      plan_(corpus_.node(), corpus_.table(), facts_.config.train, facts_.config.model.max_seq_len, sampling_),
      learner_(world, facts_.config, config::precision_type(facts_.precision)),
      loader_(world, corpus_, plan_, learner_.share(), data::supervise_by(facts_.config.train.loss)),
      evaluation_(world, facts_),
      saves_(facts_.config.checkpoint),
      limit_(find_time_limit(facts_.config.run.time_limit)) {
  check_plan();
  folder_.require_room(learner_.checkpoint_parts());
  stored_ ? resume(*stored_) : start_new();
  folder_.open_metrics(facts_, state_, stored_.has_value());
  if (stored_ && stored_->meta().fingerprint != facts_.fingerprint) {
    folder_.event(
        state_.step, "layout",
        fmt::format("continues, not bit-equal: was {}; is {}", stored_->meta().fingerprint, facts_.fingerprint));
  }
  if (stored_ && stored_->meta().planned_steps != plan_.steps()) {
    folder_.event(state_.step, "layout",
                  fmt::format("planned steps were {}, are {}: not bit-equal to the run as it was "
                              "planned",
                              stored_->meta().planned_steps, plan_.steps()));
  }
  stored_.reset();
}

void Run::check_plan() const {
  const std::int64_t warmup = facts_.config.train.lr_warmup_steps;
  if (warmup >= plan_.steps()) {
    fail(ExitCode::bad_config, "train.lr_warmup_steps = {} must be below the planned {} steps", warmup, plan_.steps());
  }
}

void Run::resume(const io::CheckpointReader& checkpoint) {
  comm::together(world_, [&] { learner_.restore(checkpoint); });
  state_ = from_meta(checkpoint.meta());
  state_.run_id = folder_.run_id();
  state_.planned_steps = plan_.steps();
  seconds_before_ = state_.wall_seconds;
}

void Run::start_new() {
  if (options_.init_from.empty()) {
    learner_.initialise();
  } else {
    const io::CheckpointReader source(world_, options_.init_from);
    const bool average = options_.init_from_average && source.find("/ema/lm_head") != nullptr;
    comm::together(world_, [&] { learner_.initialise_from(source, average ? "/ema" : "/model"); });
  }
  state_.run_id = folder_.run_id();
  state_.planned_steps = plan_.steps();
}

void Run::announce() const {
  const config::RunConfig& config = facts_.config;
  log::info("{} {}: {} parameters, {} steps of {} packs x {} slots, {} on {} rank(s) x {} thread(s)",
            state_.step > 0 ? fmt::format("going on from step {} of", state_.step) : std::string("training"),
            config.model.architecture, learner_.table().total_count, plan_.steps(), config.train.packs,
            config.train.pack_tokens, facts_.precision, facts_.ranks, facts_.threads);
  if (limit_) {
    log::info("the time limit leaves {:.0f} s ({})", limit_->end_time - wall_clock(), limit_->source);
  } else {
    log::warn(
        "no time limit is known (run.time_limit, SLURM_JOB_END_TIME, HRM_RUN_TIME_LIMIT): the run cannot save ahead of "
        "one");
  }
  const double memory = 1 / (1 - config.train.ema);
  if (config.train.ema > 0 && static_cast<double>(plan_.steps()) < 5 * memory) {
    log::warn("train.ema = {} remembers {:.0f} steps, the run has {}: the average will lag behind; set train.ema lower",
              config.train.ema, memory, plan_.steps());
  }
}

/// Whether the next step might leave too little time to save: two steps, two saves and some seconds for the exit.
bool Run::out_of_time() const {
  return limit_ && wall_clock() + 2 * step_seconds_ + 2 * saves_.cost_seconds() + 5 > limit_->end_time;
}

double Run::seconds_left() const {
  return step_seconds_ * static_cast<double>(plan_.steps() - state_.step);
}

/// One update. Ends true when the run was asked to stop.
///   1. the batch's packs are there (read ahead), 2. forward and backward of each own pack, 3. gradients and sums are
///   reduced and the weights updated, 4. records: state, metrics, progress, a save when one is due.
bool Run::step() {
  const Timer timer;
  const std::int64_t number = state_.step + 1;
  const optim::StepSchedule schedule = optim::schedule(facts_.config, number, plan_.steps());
  const model::Horizon horizon{schedule.backward_steps};

  loader_.load(number);
  const data::Batch& batch = loader_.batch();
  const double divisor = static_cast<double>(batch.supervised_total) / static_cast<double>(batch.packs());
  const double seconds_data = timer.seconds();

  learner_.begin_step();
  for (const data::Pack& pack : loader_.packs()) {
    learner_.accumulate(infer::view(pack), horizon, divisor);
  }

  const bool stop_here = stop_requested() || number == options_.stop_after || (world_.rank() == 0 && out_of_time());
  const bool save_now = world_.rank() == 0 && saves_.due_by_time();
  StepResult result = learner_.finish_step(horizon, schedule.learning_rate, stop_here, save_now);
  result.seconds.data = seconds_data;
  if (!result.finite) {
    fail(ExitCode::numerics,
         "step {}: loss or gradient is not finite (loss sum {}, gradient norm {}); the weights were not updated. Lower "
         "train.learning_rate, or go on from the last checkpoint with train.precision = fp32",
         number, result.sums.loss_sum, result.gradient_norm);
  }
  state_.step = number;
  state_.epoch = batch.epoch;
  state_.epoch_position = batch.epoch_position + static_cast<std::int64_t>(batch.samples.size());
  state_.samples_seen += static_cast<std::int64_t>(batch.samples.size());
  state_.tokens_seen += batch.used_total;
  state_.bp_steps = schedule.backward_steps;
  state_.learning_rate = schedule.learning_rate;
  state_.wall_seconds = seconds_before_ + since_start_.seconds();
  after_step(batch, result, timer.seconds());
  const bool last = state_.step == plan_.steps();
  if (!last && evaluation_.due(number)) {
    evaluate();
  }
  if (!last && result.stop_votes == 0 && (saves_.due_by_steps(number) || result.save_votes > 0)) {
    save("interval");
  }
  return result.stop_votes > 0;
}

nlohmann::json Run::metrics_row(const data::Batch& batch, const StepResult& result, double seconds) const {
  const model::PackSums& sums = result.sums;
  const auto tokens = static_cast<double>(sums.tokens);
  const StepSeconds& part = result.seconds;
  return {{"record", "train"},
          {"step", state_.step},
          {"epoch", state_.epoch},
          {"tokens", state_.tokens_seen},
          {"loss", sums.loss_sum / tokens},
          {"accuracy", static_cast<double>(sums.correct) / tokens},
          {"exact_accuracy", static_cast<double>(sums.exact) / static_cast<double>(sums.sequences)},
          {"learning_rate", state_.learning_rate},
          {"bp_steps", state_.bp_steps},
          {"gradient_norm", result.gradient_norm},
          {"seconds", seconds},
          {"tokens_per_second", static_cast<double>(batch.used_total) / seconds},
          {"seconds_data", part.data},
          {"seconds_forward", part.forward},
          {"seconds_backward", part.backward},
          {"seconds_communication", part.communication},
          {"seconds_optimizer", part.optimizer},
          {"seconds_checkpoint", seconds_checkpoint_},
          {"memory_bytes", static_cast<std::int64_t>(memory_bytes_total())},
          {"packing_efficiency",
           static_cast<double>(batch.used_total) / static_cast<double>(plan_.packs() * plan_.slots())}};
}

void Run::after_step(const data::Batch& batch, const StepResult& result, double seconds) {
  step_seconds_ = step_seconds_ == 0 ? seconds : 0.9 * step_seconds_ + 0.1 * seconds;
  const bool last = state_.step == plan_.steps() || result.stop_votes > 0;
  if (state_.step % facts_.config.train.log_interval == 0 || last) {
    const auto tokens = static_cast<double>(result.sums.tokens);
    folder_.append(metrics_row(batch, result, seconds));
    progress_.show({state_.step, plan_.steps(), result.sums.loss_sum / tokens,
                    static_cast<double>(result.sums.correct) / tokens,
                    static_cast<double>(batch.used_total) / step_seconds_, seconds_left()});
  }
  seconds_checkpoint_ = 0;
  folder_.publish_metrics(false);
  folder_.status("running", std::nullopt, state_, seconds_left(), "");
}

void Run::save(const std::string& why) {
  const Timer timer;
  folder_.status("saving", std::nullopt, state_, seconds_left(), why);
  const std::filesystem::path file = folder_.save(to_meta(state_, facts_), learner_.checkpoint_parts());
  seconds_checkpoint_ = timer.seconds();
  saves_.saved(seconds_checkpoint_);
  folder_.event(state_.step, "checkpoint",
                fmt::format("{} ({}, {:.2f} s, state digest {})", file.filename().string(), why, seconds_checkpoint_,
                            hex(folder_.state_digest())));
  folder_.publish_metrics(true);
}

void Run::evaluate() {
  progress_.finish();
  for (const nlohmann::json& row : evaluation_.run(learner_, state_.step)) {
    folder_.append(row);
  }
  folder_.publish_metrics(true);
}

ExitCode Run::finish(ExitCode code, const std::string& reason) {
  progress_.finish();
  save(reason);
  if (code == ExitCode::ok) {
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
  return state_.step == options_.stop_after ? "stopped by --stop-after" : "stopped ahead of the time limit";
}

ExitCode Run::execute() {
  announce();
  bool stop = stop_requested();
  while (state_.step < plan_.steps() && !stop) {
    stop = step();
  }
  if (state_.step == plan_.steps()) {
    return finish(ExitCode::ok, "finished");
  }
  return finish(ExitCode::stopped, stop_reason());
}

}  // namespace

ExitCode train(comm::Communicator& world, const config::RunConfig& config, const RunOptions& options) {
  watch_stop_signals();
  Run run(world, config, options);
  return run.execute();
}

}  // namespace hrm::train
