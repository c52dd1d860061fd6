#include "train/saving.hpp"

#include <utility>

#include "base/digest.hpp"
#include "base/log.hpp"

namespace hrm::train {
namespace {

constexpr int failures_allowed = 1;  // in a row

/// Whether the next save may do better: a full disk, a temporary that somebody removed, a node that sees the folder
/// late. Without its peers a rank has no next save.
bool may_pass(const InputError& error) {
  return error.code() != ExitCode::lost_peer;
}

}  // namespace

Saving::Saving(comm::Communicator& world, RunFolder& folder, const config::CheckpointConfig& config)
    : world_(world), folder_(folder), async_(config.async), schedule_(config) {}

Saving::~Saving() {
  folder_.writer().abandon();
}

void Saving::expect(const std::vector<io::TensorPart>& parts) {
  schedule_.expect(io::checkpoint_bytes(parts));
  if (async_) {
    folder_.writer().prepare(parts);
  }
}

/// A piece of a save, timed. All ranks throw the same, so all of them end here or none.
template <class Work>
void Saving::attempt(Work&& work) {
  const Timer timer;
  std::string reason;
  try {
    work();
  } catch (const InputError& error) {
    if (!may_pass(error)) {
      throw;
    }
    reason = error.what();
  }
  const double seconds = timer.seconds();
  stall_ += seconds;
  untaken_stall_ += seconds;
  if (!reason.empty()) {
    failed(reason);
  }
}

void Saving::failed(const std::string& reason) {
  ++failures_;
  folder_.event(step_, "save_failed", reason);
  if (last_ || failures_ > failures_allowed) {
    fail(ExitCode::io_error, "{} (step {}: {}; older checkpoints are untouched)", reason, step_,
         last_ ? "the run's last save" : "the second failed save in a row");
  }
  log::warn("the save of step {} failed and the run goes on without it; the next one tries again: {}", step_, reason);
}

void Saving::begin(io::CheckpointMeta meta, const Parts& parts, const std::string& why) {
  step_ = meta.step;
  why_ = why;
  stall_ = 0;
  schedule_.started();
  attempt([&] { folder_.begin_save(std::move(meta), parts()); });
}

void Saving::start(io::CheckpointMeta meta, const Parts& parts, const std::string& why) {
  settle();
  begin(std::move(meta), parts, why);
  if (!async_) {
    settle();
  }
}

void Saving::save_last(io::CheckpointMeta meta, const Parts& parts, const std::string& why) {
  settle();
  last_ = true;
  begin(std::move(meta), parts, why);
  settle();
}

void Saving::settle() {
  while (under_way()) {
    advance(world_.size());
  }
}

void Saving::release_sources() {
  if (under_way()) {
    attempt([&] { folder_.writer().release_sources(); });
  }
}

void Saving::advance(double written) {
  if (!under_way() || written < world_.size()) {
    return;
  }
  std::filesystem::path file;
  attempt([&] {
    if (folder_.writer().advance()) {
      file = folder_.commit_save();
    }
  });
  if (!file.empty()) {
    committed(file.filename().string());
  }
}

void Saving::committed(const std::string& file) {
  failures_ = 0;
  // Where nothing else runs meanwhile the run stands still for the thread, too.
  const double behind = async_ && !last_ ? folder_.writer().background_seconds() : 0;
  schedule_.saved(stall_, behind);
  folder_.event(step_, "checkpoint",
                fmt::format("{} ({}, {:.2f} s{}, state digest {})", file, why_, stall_,
                            behind > 0 ? fmt::format(" and {:.2f} s in the background", behind) : std::string(),
                            hex(folder_.writer().state_digest())));
  folder_.publish_saved();
}

double Saving::take_stall() {
  return std::exchange(untaken_stall_, 0);
}

}  // namespace hrm::train
