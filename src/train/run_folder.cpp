#include "train/run_folder.hpp"

#include <algorithm>
#include <cstdlib>

#include "base/error.hpp"
#include "base/log.hpp"
#include "config/resolve.hpp"
#include "io/disk.hpp"

namespace hrm::train {
namespace {

namespace fs = std::filesystem;

fs::path metrics_path(const config::RunConfig& config) {
  return config.metrics.path.empty() ? fs::path(config.checkpoint.dir) / "metrics.h5" : fs::path(config.metrics.path);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
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

}  // namespace

std::string batch_job_id() {
  for (const char* name : {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"}) {
    if (std::string id = environment(name); !id.empty()) {
      return id;
    }
  }
  return "";
}

RunFolder::RunFolder(comm::Communicator& group, const config::RunConfig& config)
    : group_(group), config_(config), path_(config.checkpoint.dir), metrics_path_(metrics_path(config)) {
  comm::together(group_, [&] {
    if (writes()) {
      io::make_folder(path_);
      run_id_ = io::stored_run_id(path_);
      run_id_ = run_id_.empty() ? io::new_run_id() : run_id_;
      lock_.emplace(path_, run_id_);
    }
  });
  run_id_ = comm::broadcast_text(group_, run_id_);
  comm::together(group_, [&] { status("starting", std::nullopt, {}, 0, ""); });
  writer_ = std::make_unique<io::CheckpointWriter>(group_, path_, run_id_);
}

RunFolder::~RunFolder() = default;

void RunFolder::refuse_new_run(const fs::path& newest) const {
  fail(ExitCode::cannot_create,
       "{}: this run folder holds a checkpoint ({}); go on with it by adding --resume auto, or give another "
       "checkpoint.dir",
       path_.string(), newest.filename().string());
}

std::optional<io::CheckpointReader> RunFolder::start_point(const RunOptions& options) {
  if (options.resume == RunOptions::Resume::file) {
    resumed_from_ = options.resume_file;
    return io::CheckpointReader(group_, options.resume_file);
  }
  std::vector<io::CheckpointFile> files;
  comm::together(group_, [&] {
    files = io::list_checkpoints(path_);
    if (options.resume == RunOptions::Resume::none && !files.empty()) {
      refuse_new_run(files.front().path);
    }
    if (options.resume == RunOptions::Resume::latest && files.empty()) {
      fail(ExitCode::no_input, "{}: --resume latest, but there is no checkpoint; --resume auto starts a new run then",
           path_.string());
    }
  });
  if (files.empty()) {
    comm::together(group_, [&] { set_journal_aside(); });
    return std::nullopt;
  }
  io::NewestGood newest = io::newest_good(group_, path_);
  for (const std::string& reason : newest.bad) {
    log::warn("passed over: {}", reason);
  }
  if (!newest.checkpoint) {
    fail(ExitCode::no_input,
         "{}: none of its {} checkpoints can be read (the newest: {}); restore one from a copy, or start a new run in "
         "another checkpoint.dir",
         path_.string(), files.size(), newest.bad.empty() ? "no reason given" : newest.bad.front());
  }
  resumed_from_ = newest.checkpoint->path();
  return std::move(newest.checkpoint);
}

void RunFolder::set_journal_aside() {
  const fs::path journal = io::journal_path(metrics_path_);
  if (!writes() || !fs::exists(journal)) {
    return;
  }
  int number = 1;
  fs::path aside;
  do {
    aside = journal.string() + ".old-" + std::to_string(number++);
  } while (fs::exists(aside));
  fs::rename(journal, aside);
  set_aside_ = aside.filename().string();
}

nlohmann::json RunFolder::job_row() const {
  return {{"record", "job"},
          {"job_id", batch_job_id()},
          {"restart", std::atoi(environment("SLURM_RESTART_COUNT").c_str())},
          {"data_parallel", group_.size() / config_.parallel.tensor},
          {"tensor_parallel", config_.parallel.tensor},
          {"start", io::utc_now()}};
}

void RunFolder::open_metrics(const RunFacts& facts, const TrainState& state, bool resumed) {
  const std::string hosts = joined_hosts(group_);
  comm::together(group_, [&] {
    if (!writes()) {
      return;
    }
    journal_.emplace(metrics_path_, io::MetricsHeader{run_id_, config::to_text(facts.config)});
    job_ = job_row();
    job_["hosts"] = hosts;
    job_["threads"] = facts.threads;
    job_["first_step"] = state.step;
    if (resumed) {
      const std::vector<nlohmann::json> rows = io::read_journal(io::journal_path(metrics_path_));
      std::int64_t last = state.step;
      double lost = 0;
      for (const nlohmann::json& row : io::apply_cuts(rows)) {
        if (row.value("record", "") == "train" && row.value("step", std::int64_t{0}) > state.step) {
          last = std::max(last, row.value("step", std::int64_t{0}));
          lost += row.contains("seconds") && row["seconds"].is_number() ? row["seconds"].get<double>() : 0.0;
        }
      }
      journal_->append({{"record", "cut"}, {"step", state.step}});
      job_["seconds_lost"] = lost;
      event(state.step, "restart",
            fmt::format("from {}; {} logged steps up to {} made again, {:.1f} s lost",
                        resumed_from_.filename().string(), last - state.step, last, lost));
    } else {
      event(state.step, "start", set_aside_.empty() ? "new run" : "new run; an older journal is now " + set_aside_);
    }
    journal_->append(job_);
    journal_->sync();
  });
}

void RunFolder::append(const nlohmann::json& row) {
  if (journal_) {
    journal_->append(row);
  }
}

void RunFolder::event(std::int64_t step, const std::string& kind, const std::string& text) {
  append({{"record", "event"}, {"time", io::utc_now()}, {"step", step}, {"kind", kind}, {"text", text}});
}

void RunFolder::publish_metrics(bool now) {
  if (journal_) {
    now ? journal_->publish() : journal_->publish_if_due();
  }
}

void RunFolder::status(const std::string& state, std::optional<int> exit_code, const TrainState& progress,
                       double seconds_left, const std::string& reason) {
  const bool routine = state == "running" && since_status_.seconds() < 1;
  if (!writes() || routine) {
    return;
  }
  since_status_.restart();
  io::Status status;
  status.run_id = run_id_;
  status.state = state;
  status.exit_code = exit_code;
  status.step = progress.step;
  status.planned_steps = progress.planned_steps;
  status.last_checkpoint = last_checkpoint_;
  status.eta = seconds_left > 0 ? io::utc_after(seconds_left) : "";
  status.reason = reason;
  status.job_id = batch_job_id();
  io::write_status(path_, status, state != "running");
  if (exit_code && journal_) {
    job_["end"] = io::utc_now();
    job_["last_step"] = progress.step;
    journal_->append(job_);
  }
}

std::filesystem::path RunFolder::save(io::CheckpointMeta meta, const std::vector<io::TensorPart>& parts) {
  fs::path file = writer_->save(std::move(meta), parts);
  last_checkpoint_ = file.filename().string();
  comm::together(group_, [&] {
    if (writes()) {
      io::delete_old_checkpoints(path_, config_.checkpoint.keep_last, config_.checkpoint.keep_every);
    }
  });
  return file;
}

void RunFolder::require_room(const std::vector<io::TensorPart>& parts) {
  comm::together(group_, [&] {
    if (writes()) {
      io::require_space(path_, (config_.checkpoint.keep_last + 2) * io::checkpoint_bytes(parts),
                        "checkpoint.keep_last + 2 checkpoints");
    }
  });
}

}  // namespace hrm::train
