#include "train/run.hpp"

#include <algorithm>

#include "base/digest.hpp"
#include "base/log.hpp"
#include "comm/grid.hpp"
#include "config/resolve.hpp"
#include "data/batch_plan.hpp"
#include "data/loader.hpp"
#include "data/shared_corpus.hpp"
#include "infer/pack_view.hpp"
#include "optim/schedule.hpp"
#include "train/evaluation.hpp"
#include "train/init_from.hpp"
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
  Run(comm::Grid& grid, const RunOptions& options, data::SharedCorpus& corpus, RunFacts facts,
      const std::optional<infer::LoadedModel>& source, RunFolder& folder);
  ExitCode execute();

 private:
  void resume(const io::CheckpointReader& checkpoint);
  void start_new(const std::optional<infer::LoadedModel>& source);
  void note_changes(const io::CheckpointReader& checkpoint, const std::string& missing);
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
  bool wants_to_stop(std::int64_t step) const;
  bool out_of_time() const;

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
  SaveSchedule saves_;
  std::optional<TimeLimit> limit_;
  Progress progress_;
  Timer since_start_;
  std::int64_t first_step_ = 0;    // of this start: nothing was done before it
  double seconds_before_ = 0;      // wall seconds of earlier starts
  double step_seconds_ = 0;        // smoothed, for the ETA
  double seconds_checkpoint_ = 0;  // of the save after the last step
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
    : world_(*grid.world),
      options_(options),
      facts_(std::move(facts)),
      sampling_(read_rules(world_, facts_)),
      folder_(folder),
      stored_(open_start(world_, folder_, options, facts_)),
      plan_(corpus.node(), corpus.table(), facts_.config.train, facts_.config.model.max_seq_len, sampling_),
      learner_(grid, facts_.config, config::precision_type(facts_.precision)),
      loader_(world_, corpus, plan_, learner_.share(), data::supervise_by(facts_.config.train.loss)),
      evaluation_(grid, facts_),
      saves_(facts_.config.checkpoint),
      limit_(find_time_limit(facts_.config.run.time_limit)) {
  check_plan();
  folder_.require_room(learner_.checkpoint_parts());
  state_.planned_steps = plan_.steps();
  stored_ ? resume(*stored_) : start_new(source);
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

void Run::resume(const io::CheckpointReader& checkpoint) {
  std::string missing;
  comm::together(world_, [&] { missing = learner_.restore(checkpoint); });
  learner_.loaded();
  state_ = from_meta(checkpoint.meta());
  state_.planned_steps = plan_.steps();
  seconds_before_ = state_.wall_seconds;
  folder_.open_metrics(facts_, state_, true);
  note_changes(checkpoint, missing);
}

/// What makes the continued run differ in bits from the one that was stored.
void Run::note_changes(const io::CheckpointReader& checkpoint, const std::string& missing) {
  const auto note = [&](const std::string& text) { folder_.event(state_.step, "layout", text); };
  if (checkpoint.meta().fingerprint != facts_.fingerprint) {
    note(fmt::format("continues, not bit-equal: was {}; is {}", checkpoint.meta().fingerprint, facts_.fingerprint));
  }
  const io::CheckpointMeta& stored = checkpoint.meta();
  const std::int64_t tensor = facts_.config.parallel.tensor;
  if (stored.world_size != facts_.ranks || stored.tensor_parallel != tensor) {
    note(fmt::format("was data {} x tensor {}, is data {} x tensor {}: {}", stored.data_parallel,
                     stored.tensor_parallel, facts_.ranks / tensor, tensor,
                     stored.fingerprint == facts_.fingerprint ? "bit-equal" : "not bit-equal"));
  }
  if (checkpoint.meta().planned_steps != plan_.steps()) {
    note(fmt::format("planned steps were {}, are {}: not bit-equal to the run as it was planned",
                     checkpoint.meta().planned_steps, plan_.steps()));
  }
  if (!missing.empty()) {
    note(fmt::format("the checkpoint holds no {}: started anew, not bit-equal", missing));
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

void Run::announce() const {
  const config::RunConfig& config = facts_.config;
  log::info("{} {}: {} parameters, {} steps of {} packs x {} slots, {} on {} rank(s) x {} thread(s)",
            state_.step > 0 ? fmt::format("going on from step {} of", state_.step) : std::string("training"),
            config.model.architecture, learner_.table().total_count, plan_.steps(), config.train.packs,
            config.train.pack_tokens, facts_.precision, facts_.ranks, facts_.threads);
  log::info("rank 0 holds {:.1f} MiB of buffers (hrm train --dry-run lists every rank's by part)",
            static_cast<double>(memory_bytes_total()) / (1 << 20));
  const std::int64_t groups = facts_.ranks / config.parallel.tensor;
  if (config.parallel.tensor > 1) {
    log::info("layout: data {} x tensor {}", groups, config.parallel.tensor);
  }
  if (config.train.packs % groups != 0) {
    log::info("uneven shares: {} data rank(s) work on {} packs of a batch, the others on {}",
              config.train.packs % groups, config.train.packs / groups + 1, config.train.packs / groups);
  }
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

/// This rank's wish to stop after `step`; ranks agree on it through a sum. Only rank 0's clock counts.
bool Run::wants_to_stop(std::int64_t step) const {
  const bool asked = options_.stop_after > 0 && step >= options_.stop_after;
  return stop_requested() || asked || (world_.rank() == 0 && out_of_time());
}

/// Whether the next step might leave too little time to save: two steps, two saves, an evaluation that may be due, and
/// some seconds for the exit.
bool Run::out_of_time() const {
  return limit_ &&
         wall_clock() + 2 * step_seconds_ + 2 * saves_.cost_seconds() + seconds_evaluation_ + 5 > limit_->end_time;
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

  Votes votes;
  votes.stop = wants_to_stop(number) ? 1 : 0;
  votes.save = world_.rank() == 0 && saves_.due_by_time() ? 1 : 0;
  StepResult result = learner_.finish_step(horizon, schedule.learning_rate, votes);
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
  if (!last && result.votes.stop == 0 && evaluation_.due(number)) {
    evaluate();
  }
  if (!last && result.votes.stop == 0 && (saves_.due_by_steps(number) || result.votes.save > 0)) {
    save("interval");
  }
  return result.votes.stop > 0;
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
  const bool last = state_.step == plan_.steps() || result.votes.stop > 0;
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
  const std::filesystem::path file = folder_.save(
      to_meta(state_, facts_, plan_.cursors(std::max<std::int64_t>(state_.step, 1))), learner_.checkpoint_parts());
  seconds_checkpoint_ = timer.seconds();
  saves_.saved(seconds_checkpoint_);
  folder_.event(state_.step, "checkpoint",
                fmt::format("{} ({}, {:.2f} s, state digest {})", file.filename().string(), why, seconds_checkpoint_,
                            hex(folder_.state_digest())));
  folder_.publish_metrics(true);
  folder_.status("running", std::nullopt, state_, seconds_left(), "");
}

void Run::evaluate() {
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
    save(reason);
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
  announce();
  folder_.status("running", std::nullopt, state_, 0, "");
  double votes = wants_to_stop(state_.step) ? 1 : 0;
  world_.sum(std::span<double>(&votes, 1));
  bool stop = votes > 0;
  while (state_.step < plan_.steps() && !stop) {
    stop = step();
  }
  if (state_.step >= plan_.steps()) {
    return finish(ExitCode::ok, "finished");
  }
  return finish(ExitCode::stopped, stop_reason());
}

}  // namespace

ExitCode train(comm::Communicator& world, const config::RunConfig& given, const RunOptions& options) {
  watch_stop_signals();
  config::RunConfig config = given;
  config::check_training(config);
  config::check_model(config.model);
  comm::Grid grid = comm::make_grid(world, config.parallel.tensor);
  const std::optional<infer::LoadedModel> source = load_source(grid, options, config);
  data::SharedCorpus corpus(world, config.data.path);
  RunFacts facts = make_facts(world.size(), config, corpus.info());
  if (source) {
    check_source(*source, facts);
  }
  RunFolder folder(world, facts.config);
  try {
    Run run(grid, options, corpus, facts, source, folder);
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
