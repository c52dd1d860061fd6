// The verdicts of a run: status.json, and what is written however a run ends.
#include <algorithm>
#include <system_error>
#include <utility>

#include "base/log.hpp"
#include "base/text.hpp"
#include "io/disk.hpp"
#include "train/run_folder.hpp"

namespace hrm::train {

std::string batch_job_id() {
  for (const char* name : {"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID"}) {
    if (std::string id = environment(name); !id.empty()) {
      return id;
    }
  }
  return "";
}

bool RunFolder::record(const std::function<void()>& work) {
  const auto wait = [this](const std::exception& error) {
    if (!std::exchange(records_wait_, true)) {
      log::warn("{} (the run goes on, its records wait for room)", error.what());
    }
  };
  try {
    work();
    return true;
  } catch (const InputError& error) {
    wait(error);
  } catch (const std::system_error& error) {
    wait(error);
  }
  return false;
}

void RunFolder::status(const std::string& state, std::optional<int> exit_code, const TrainState& progress,
                       double seconds_left, const std::string& reason) {
  progress_ = progress;
  const bool routine = state == "running" && since_status_.seconds() < 1;
  if (!writes() || routine) {
    return;
  }
  since_status_.restart();
  started_ = true;
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
  record([&] { io::write_status(path_, status, state != "running"); });
  if (exit_code) {
    job_["end"] = io::utc_now();
    job_["last_step"] = progress.step;
    append(job_);
  }
}

void RunFolder::lost_peer(std::string reason, std::string suspect_hosts) const noexcept {
  try {
    std::optional<io::Status> status = io::read_status(path_);
    if (!status || status->run_id != run_id_ || io::stored_run_id(path_) != run_id_) {
      return;
    }
    std::replace(reason.begin(), reason.end(), '\n', ';');
    status->exit_code = static_cast<int>(ExitCode::lost_peer);
    status->state = io::state_of_exit(*status->exit_code);
    status->job_id = batch_job_id();
    status->eta.clear();
    status->reason = std::move(reason);
    status->suspect_hosts = std::move(suspect_hosts);
    io::write_status(path_, *status, true, "verdict");
  } catch (const std::exception& error) {
    log::warn("the verdict could not be written: {}", error.what());
  }
}

void RunFolder::fail_with(ExitCode code, const std::string& reason) noexcept {
  if (!started_) {
    return;
  }
  try {
    const int exit_code = static_cast<int>(code);
    event(progress_.step, "stop", reason);
    status(io::state_of_exit(exit_code), exit_code, progress_, 0, reason);
    publish_metrics(true);
  } catch (const std::exception& error) {
    log::warn("the verdict could not be written: {}", error.what());
  }
}

}  // namespace hrm::train
