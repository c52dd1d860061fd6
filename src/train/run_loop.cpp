#include "train/run_loop.hpp"

#include <algorithm>
#include <array>

#include "base/digest.hpp"
#include "base/log.hpp"
#include "base/stop_request.hpp"
#include "comm/activity.hpp"
#include "config/resolve.hpp"
#include "infer/pack_view.hpp"
#include "io/run_files.hpp"
#include "io/state_digest.hpp"
#include "train/announce.hpp"
#include "train/init_from.hpp"
#include "train/metrics_row.hpp"
#include "train/replicas.hpp"

namespace hrm::train {
Run::Run(comm::Grid& grid, const RunOptions& options, data::SharedCorpus& corpus, RunPlan& plan,
         const std::optional<infer::LoadedModel>& source, RunFolder& folder, Watchdog& watchdog)
    : grid_(grid),
      world_(*grid.world),
      options_(options),
      facts_(plan.facts),
      folder_(folder),
      plan_(*plan.batches),
      learner_(grid, facts_.config, config::precision_type(facts_.precision)),
      loader_(world_, corpus, plan_, learner_.share(), data::supervise_by(facts_.config.train.loss)),
      utilization_(facts_.config, config::precision_type(facts_.precision), corpus.table(), grid.device->name(),
                   world_.size()),
      evaluation_(plan.evaluation),
      saving_(world_, folder_, facts_.config.checkpoint),
      limit_(plan.limit),
      recovery_(facts_.config.guard, folder_, progress_),
      watchdog_(watchdog) {
  const std::vector<io::TensorPart> parts = learner_.checkpoint_parts();
  folder_.require_room(parts);
  saving_.expect(parts);
  state_.planned_steps = plan_.steps();
  plan.stored ? resume(*plan.stored) : start_new(source);
  saving_.set_record(folder_.failures());
  state_.run_id = folder_.run_id();
  first_step_ = state_.step;
  resumed_ = plan.stored.has_value();
  plan.stored.reset();
}

/// Weights and state as they were stored. Returns what the checkpoint does not hold.
std::string Run::restore(const io::CheckpointReader& checkpoint) {
  std::string missing;
  comm::together(world_, [&] { missing = learner_.restore(checkpoint); });
  io::check_restored(world_, checkpoint, learner_.checkpoint_parts());
  const bool alike = checkpoint.meta().fingerprint == facts_.fingerprint;  // rank 0's word counts
  learner_.use_product_choices(comm::broadcast_text(world_, alike ? checkpoint.meta().products : ""));
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
  if (const std::string text = changes_since(checkpoint.meta(), facts_, plan_.steps(), missing); !text.empty()) {
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
  if (source) {
    folder_.event(0, "start", describe_source(*source, facts_));
  }
}

/// This rank's wish to stop after `step`; ranks agree on it through a sum.
bool Run::wants_to_stop(std::int64_t step) const {
  return stop_requested() || (options_.stop_after > 0 && step >= options_.stop_after);
}

/// When the time limit becomes a request to stop: with time left for two steps, the save and some seconds for the exit.
/// Only rank 0's clock counts. An evaluation needs no time of its own, for it looks at the request itself.
void Run::set_deadline() const {
  if (limit_ && world_.rank() == 0) {
    stop_at(limit_->end_time - 2 * step_seconds_ - saving_.schedule().reserve_seconds() - 5);
  }
}

Votes Run::own_votes(std::int64_t step) const {
  Votes votes;
  votes.stop = wants_to_stop(step) ? 1 : 0;
  votes.save = world_.rank() == 0 && saving_.due_by_time() ? 1 : 0;
  votes.written = saving_.written();
  return votes;
}

/// Where no step's sum carries them.
Votes Run::share(Votes votes) {
  std::array<double, 3> all{votes.stop, votes.save, votes.written};
  world_.sum(all);
  return {all[0], all[1], all[2]};
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
    return end_step(share(own_votes(number)));
  }
  StepResult result = update(batch, schedule);
  watchdog_.enter("record", number);
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
    comm::note_progress();
    learner_.accumulate(infer::view(pack), horizon, divisor);
  }
  const Votes votes = own_votes(batch.step);
  watchdog_.enter("update", batch.step);
  return recovery_.finish_step(learner_, batch.step, schedule, votes, [&] {
    if (!learner_.copies_parts()) {
      saving_.release_sources();
    }
  });
}

/// What a checkpoint of this moment holds. Collective.
std::vector<io::TensorPart> Run::parts() {
  if (learner_.copies_parts()) {
    saving_.settle();  // a save under way still writes the copy
  }
  return learner_.checkpoint_parts();
}

void Run::roll_back() {
  watchdog_.enter("rollback", state_.step);
  saving_.settle();  // its file may be the one to go back to, and its parts are about to change
  const std::int64_t reached = state_.step;
  const Rollback back = recovery_.go_back();
  restore(back.checkpoint);
  unlogged_row_ = nullptr;
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
  if (saving_.under_way()) {
    watchdog_.enter("commit", state_.step);
  }
  saving_.advance(votes.written);
  set_deadline();
  const bool goes_on = state_.step < plan_.steps() && votes.stop == 0 && !recovery_.guard().wants_rollback();
  if (goes_on && evaluation_.due(state_.step) && !evaluate()) {
    return true;
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
  return io::state_digest(world_, parts());
}

void Run::after_step(const data::Batch& batch, const StepResult& result, double seconds) {
  step_seconds_ = step_seconds_ == 0 ? seconds : 0.9 * step_seconds_ + 0.1 * seconds;
  const bool last = state_.step == plan_.steps() || result.votes.stop > 0;
  const std::optional<std::uint64_t> digest = check_digests();
  nlohmann::json row = metrics_row(state_, batch, plan_.slots(), result, seconds);
  if (state_.step % facts_.config.train.log_interval == 0 || last || digest) {
    const auto tokens = static_cast<double>(result.sums.tokens);
    row["seconds_checkpoint"] = saving_.take_stall();
    if (const auto share = utilization_.of(batch, {state_.bp_steps}, seconds)) {
      row["model_flops_utilization"] = *share;
    }
    if (digest) {
      row["state_digest"] = hex(*digest);
    }
    folder_.append(row);
    row = nullptr;
    progress_.show({state_.step, plan_.steps(), result.sums.loss_sum / tokens,
                    static_cast<double>(result.sums.correct) / tokens,
                    static_cast<double>(batch.used_total) / step_seconds_, seconds_left()});
  }
  unlogged_row_ = std::move(row);
  folder_.publish_metrics(false);
  folder_.status("running", std::nullopt, state_, seconds_left(), "");
}

void Run::save(const std::string& why, bool last) {
  watchdog_.enter(last ? "last save" : "save", state_.step);  // the last one waits for all of its bytes
  io::CheckpointMeta meta = to_meta(state_, facts_, plan_.cursors(state_.epoch));
  meta.products = learner_.product_choices();
  recovery_.guard().store(meta);
  if (last || !facts_.config.checkpoint.async) {
    folder_.status("saving", std::nullopt, state_, seconds_left(), why);
  }
  const auto parts_now = [this] { return parts(); };
  last ? saving_.save_last(std::move(meta), parts_now, why) : saving_.start(std::move(meta), parts_now, why);
  folder_.status("running", std::nullopt, state_, seconds_left(), "");
}

/// False when the run was asked to stop meanwhile.
bool Run::evaluate() {
  watchdog_.enter("evaluation", state_.step);
  progress_.finish();
  try {
    for (const nlohmann::json& row : evaluation_.run(learner_, state_.step)) {
      folder_.append(row);
    }
  } catch (const InputError& error) {
    if (error.code() != ExitCode::stopped) {
      throw;
    }
    folder_.event(state_.step, "stop", "the evaluation of this step was given up");
    return false;
  }
  folder_.publish_metrics(true);
  return true;
}

/// A start that resumed and made no step has nothing to add to the checkpoint where that is this folder's, but an
/// evaluation that an earlier one had no time for.
ExitCode Run::finish(ExitCode code, std::string reason) {
  progress_.finish();
  const bool no_step = resumed_ && state_.step == first_step_;
  // Rank 0 looks for all: nodes may see a shared folder differently for a while, and a save needs every rank.
  std::array<double, 2> there{};
  comm::together(world_, [&] {
    if (world_.rank() == 0) {
      there = {folder_.latest_is(state_.step) ? 1.0 : 0.0, folder_.evaluated(state_.step) ? 1.0 : 0.0};
    }
  });
  world_.sum(there);
  if (!no_step || there[0] == 0) {
    save(reason, true);
  }
  if (code == ExitCode::ok && there[1] == 0 && !evaluate()) {
    code = ExitCode::stopped;
    reason = stop_reason();
  }
  if (!unlogged_row_.is_null()) {
    folder_.append(unlogged_row_);
  }
  watchdog_.enter("end", state_.step);
  folder_.event(state_.step, code == ExitCode::ok ? "finish" : "stop", reason);
  folder_.status(io::state_of_exit(static_cast<int>(code)), static_cast<int>(code), state_, 0, reason);
  if (!folder_.publish_metrics(true)) {
    log::warn("the last records of this run could not be written: its metrics are incomplete");
  }
  log::info("{} at step {} of {}; the checkpoint is {}", reason, state_.step, plan_.steps(),
            (folder_.path() / io::latest_name).string());
  return code;
}

std::string Run::stop_reason() const {
  if (const std::string signal = stop_signal(); !signal.empty()) {
    return "stopped by " + signal;
  }
  if (options_.stop_after > 0 && state_.step >= options_.stop_after) {
    return "stopped by --stop-after";
  }
  return stop_requested() ? "stopped ahead of the time limit" : "stopped by a signal to another rank";
}

ExitCode Run::execute() {
  announce(facts_, state_, learner_.table().total_count, limit_);
  folder_.status("running", std::nullopt, state_, 0, "");
  set_deadline();
  bool stop = share(own_votes(state_.step)).stop > 0;
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
  if (state_.step >= plan_.steps() && !recovery_.guard().wants_rollback()) {
    return finish(ExitCode::ok, "finished");
  }
  return finish(ExitCode::stopped, stop_reason());
}

}  // namespace hrm::train
