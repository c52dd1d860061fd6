#include "train/run_folder.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "config/resolve.hpp"
#include "io/disk.hpp"
#include "io/run_files.hpp"
#include "train/start_point.hpp"

namespace hrm::train {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t most_old_metrics = 3;  // of runs that never came to a checkpoint

fs::path metrics_path(const config::RunConfig& config) {
  return config.metrics.path.empty() ? fs::path(config.checkpoint.dir) / "metrics.h5" : fs::path(config.metrics.path);
}

/// Newest first.
std::vector<std::int64_t> checkpoint_steps(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  for (const io::CheckpointFile& file : io::list_checkpoints(folder)) {
    steps.push_back(file.step);
  }
  return steps;
}

std::string joined_hosts(comm::Communicator& group) {
  std::vector<std::string> hosts = group.gather(io::host_name());
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  std::string text;
  for (const std::string& host : hosts) {
    text += (text.empty() ? "" : ",") + host;
  }
  return text;
}

/// For a rank that must not write any more, whatever its main thread is doing.
void end_process(const std::string& reason) {
  std::fputs(fmt::format("hrm: error: {}\n", reason).c_str(), stderr);
  std::fflush(stderr);
  _exit(static_cast<int>(ExitCode::cannot_create));
}

/// `rows` of the journal as written: a start's later job records repeat its earlier ones.
FailureRecord failure_record(const std::vector<nlohmann::json>& rows, double trained_seconds, double lost_now) {
  std::map<std::string, double> lost_by_start;
  for (const nlohmann::json& row : rows) {
    if (row.value("record", "") == "job" && row.contains("seconds_lost") && row["seconds_lost"].is_number()) {
      lost_by_start[row.value("start_id", "")] = row["seconds_lost"].get<double>();
    }
  }
  lost_by_start["this start"] = lost_now;
  FailureRecord record{trained_seconds, 0};
  for (const auto& [start, lost] : lost_by_start) {
    record.seconds += lost;
    record.failures += lost > 0 ? 1 : 0;
  }
  return record;
}

}  // namespace

RunFolder::RunFolder(comm::Communicator& group, const config::RunConfig& config, std::int64_t staging_bytes)
    : group_(group),
      config_(config),
      path_(config.checkpoint.dir),
      metrics_path_(metrics_path(config)),
      saved_{0, false, Guard(config.guard)} {
  comm::together(group_, [&] {
    if (writes()) {
      io::make_folder(path_);
      run_id_ = io::stored_run_id(path_);
      run_id_ = run_id_.empty() ? io::new_run_id() : run_id_;
      lock_.emplace(path_, run_id_, end_process);
    }
  });
  run_id_ = comm::broadcast_text(group_, run_id_);
  writer_ = std::make_unique<io::CheckpointWriter>(group_, path_, run_id_, staging_bytes);
}

RunFolder::~RunFolder() = default;

std::optional<io::CheckpointReader> RunFolder::start_point(const RunOptions& options) {
  std::optional<io::CheckpointReader> stored = find_start(group_, path_, options);
  TrainState state;
  if (stored) {
    resumed_from_ = fs::weakly_canonical(stored->path());
    if (resumed_from_.parent_path() == fs::weakly_canonical(path_)) {
      last_checkpoint_ = resumed_from_.filename().string();
    }
    state = from_meta(stored->meta());
  }
  comm::together(group_, [&] { status("starting", std::nullopt, state, 0, ""); });
  return stored;
}

void RunFolder::set_metrics_aside() {
  std::string text = "new run";
  for (const fs::path& file : {metrics_path_, io::journal_path(metrics_path_)}) {
    if (fs::exists(file)) {
      const fs::path aside = io::set_aside(file);
      io::delete_set_aside(file.parent_path(), file.filename().string(), most_old_metrics);
      text += "; an older " + file.filename().string() + " is now " + aside.filename().string();
    }
  }
  journal_.emplace(metrics_path_, header_);
  event(0, "start", text);
}

/// The link first, then the newest file first: after a kill anywhere in here the newest checkpoint that is left is one
/// from which the run comes to the same decisions again.
void RunFolder::set_newer_aside(const fs::path& kept, std::int64_t step) {
  const fs::path latest = path_ / io::latest_name;
  const std::string name = io::checkpoint_name(step);
  if (fs::exists(path_ / name) && fs::equivalent(path_ / name, kept)) {
    io::point_latest(path_, name);
  }
  for (const io::CheckpointFile& file : io::list_checkpoints(path_)) {
    if (file.step > step) {
      const fs::path aside = io::set_aside(file.path);
      event(step, "rollback",
            file.path.filename().string() + " is of a course that is given up; it is now " + aside.filename().string());
    }
  }
  io::delete_set_aside(path_, "step-", config_.checkpoint.keep_last);
  if (!fs::exists(latest)) {
    fs::remove(latest);  // the run goes on from a file elsewhere: the next save sets it again
  }
  io::sync_folder(path_);
}

nlohmann::json RunFolder::job_row() const {
  return {{"record", "job"},
          {"job_id", batch_job_id()},
          {"restart", std::atoi(environment("SLURM_RESTART_COUNT").c_str())},
          {"data_parallel", group_.size() / config_.parallel.tensor},
          {"tensor_parallel", config_.parallel.tensor},
          {"start_id", io::new_run_id()},
          {"start", io::utc_now()},
          {"end", nullptr},
          {"last_step", nullptr},
          {"seconds_lost", 0.0}};
}

/// The run is older than this job: counts its starts, and ends the last one where a kill left its row open.
void RunFolder::continue_jobs(const std::vector<nlohmann::json>& rows) {
  std::set<std::string> starts;
  nlohmann::json last;
  std::int64_t reached = 0;
  for (const nlohmann::json& row : io::apply_cuts(rows)) {
    const std::string record = row.value("record", "");
    if (record == "job") {
      starts.insert(row.value("start_id", ""));
      last = row;
    } else if (record == "train") {
      reached = row.value("step", std::int64_t{0});
    }
  }
  job_["restart"] = std::max(job_["restart"].get<std::int64_t>(), std::ssize(starts));
  if (last.is_object() && !(last.contains("end") && last["end"].is_string())) {
    last["last_step"] = std::max(reached, last.value("first_step", std::int64_t{0}));
    journal_->append(last);
  }
}

/// Later rows do not count any more; the event says what is made again or given up.
void RunFolder::cut_metrics(const std::string& kind, const std::string& from, std::int64_t step, std::int64_t reached,
                            const std::string& why) {
  std::int64_t last = reached;
  double lost = 0;
  for (const nlohmann::json& row : io::apply_cuts(io::read_journal(io::journal_path(metrics_path_)))) {
    if (row.value("record", "") == "train" && row.value("step", std::int64_t{0}) > step) {
      last = std::max(last, row.value("step", std::int64_t{0}));
      lost += row.contains("seconds") && row["seconds"].is_number() ? row["seconds"].get<double>() : 0.0;
    }
  }
  journal_->append({{"record", "cut"}, {"step", step}});
  job_["seconds_lost"] = lost + job_.value("seconds_lost", 0.0);
  event(step, kind,
        fmt::format("from {}; {} steps up to {} are {}, {:.1f} s lost{}", from, last - step, last,
                    kind == "rollback" ? "given up" : "made again", lost, why));
}

std::optional<io::CheckpointReader> RunFolder::rollback_point(std::int64_t blamed, std::int64_t first_refused) {
  std::vector<std::int64_t> steps;  // as one rank sees the folder, so that all try the same files
  if (writes()) {
    steps = rollback_targets(checkpoint_steps(path_), config_.checkpoint.interval_steps, blamed, first_refused);
  }
  std::int64_t count = std::ssize(steps);
  group_.max(std::span(&count, 1));
  steps.resize(static_cast<std::size_t>(count));
  group_.broadcast(std::as_writable_bytes(std::span(steps)), 0);
  for (const std::int64_t step : steps) {
    try {
      return io::CheckpointReader(group_, path_ / io::checkpoint_name(step));  // fails on all ranks or on none
    } catch (const InputError& error) {
      if (error.code() == ExitCode::lost_peer) {
        throw;
      }
      log::warn("passed over: {}", error.what());
    }
  }
  return std::nullopt;
}

void RunFolder::roll_back(const TrainState& state, std::int64_t reached, const std::string& why) {
  comm::together(group_, [&] {
    if (writes()) {
      last_checkpoint_ = io::checkpoint_name(state.step);
      set_newer_aside(path_ / last_checkpoint_,
                      state.step);  // before the cut: rows of a course that is taken up again are not lost
      cut_metrics("rollback", last_checkpoint_, state.step, reached, "; " + why);
      journal_->append(job_);
      journal_->sync();
    }
  });
}

void RunFolder::open_metrics(const RunFacts& facts, const TrainState& state, bool resumed) {
  const std::string hosts = joined_hosts(group_);
  comm::together(group_, [&] {
    if (!writes()) {
      return;
    }
    header_ = {run_id_, config::to_text(facts.config)};
    job_ = job_row();
    job_["hosts"] = hosts;
    job_["threads"] = facts.threads;
    job_["first_step"] = state.step;
    if (resumed) {
      journal_.emplace(metrics_path_, header_);
      const std::vector<nlohmann::json> rows = io::read_journal(io::journal_path(metrics_path_));
      continue_jobs(rows);
      set_newer_aside(resumed_from_, state.step);
      cut_metrics("restart", resumed_from_.filename().string(), state.step, state.step, "");
      failures_ = failure_record(rows, state.wall_seconds, job_.value("seconds_lost", 0.0));
    } else {
      set_metrics_aside();
    }
    journal_->append(job_);
    journal_->sync();
  });
}

void RunFolder::append(const nlohmann::json& row) {
  if (journal_) {
    record([&] { journal_->append(row); });
  }
}

void RunFolder::event(std::int64_t step, const std::string& kind, const std::string& text) {
  append({{"record", "event"}, {"time", io::utc_now()}, {"step", step}, {"kind", kind}, {"text", text}});
}

bool RunFolder::publish_metrics(bool now) {
  return !journal_ || record([&] { now ? journal_->publish() : journal_->publish_if_due(); });
}

void RunFolder::begin_save(io::CheckpointMeta meta, std::span<const io::TensorPart> parts) {
  saved_.step = meta.step;
  saved_.ends_plan = meta.step >= meta.planned_steps;
  saved_.guard.restore(meta);
  writer_->begin_save(std::move(meta), parts);
}

std::filesystem::path RunFolder::commit_save() {
  fs::path file = writer_->commit();
  last_checkpoint_ = file.filename().string();
  comm::together(group_, [&] {
    if (writes()) {
      deleted_ = io::delete_checkpoints(path_, superseded(checkpoint_steps(path_), saved_, config_.checkpoint));
    }
  });
  return file;
}

void RunFolder::publish_saved() {
  if (journal_) {
    deleted_.push_back(io::RawFile::try_open(metrics_path_, io::RawFile::Mode::read));
    publish_metrics(true);
    writer_->close_behind(std::exchange(deleted_, {}));
  }
}

bool RunFolder::latest_is(std::int64_t step) const {
  std::error_code none;
  return fs::equivalent(path_ / io::latest_name, path_ / io::checkpoint_name(step), none);
}

bool RunFolder::evaluated(std::int64_t step) const {
  const std::vector<nlohmann::json> rows = io::apply_cuts(io::read_journal(io::journal_path(metrics_path_)));
  return std::ranges::any_of(rows, [step](const nlohmann::json& row) {
    return row.value("record", "") == "eval" && row.value("step", std::int64_t{-1}) == step;
  });
}

void RunFolder::require_room(const std::vector<io::TensorPart>& parts) {
  comm::together(group_, [&] {
    if (writes()) {
      // Those that lie there already make room before new ones take it.
      const std::int64_t there = std::min(config_.checkpoint.keep_last, std::ssize(io::list_checkpoints(path_)));
      io::require_space(path_, (config_.checkpoint.keep_last + 2 - there) * io::checkpoint_bytes(parts),
                        "checkpoint.keep_last + 2 checkpoints");
    }
  });
}

}  // namespace hrm::train
