#include "train/start_point.hpp"

#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/stop_request.hpp"
#include "io/run_files.hpp"

namespace hrm::train {
namespace {

[[noreturn]] void refuse_new_run(const std::filesystem::path& folder, const std::filesystem::path& newest) {
  fail(ExitCode::cannot_create,
       "{}: this run folder holds a checkpoint ({}); go on with it by adding --resume auto, or give another "
       "checkpoint.dir",
       folder.string(), newest.filename().string());
}

/// Number of checkpoints in the folder, as the rank that sees most of them counts.
std::int64_t count_checkpoints(comm::Communicator& world, const std::filesystem::path& folder,
                               RunOptions::Resume resume) {
  std::int64_t files = 0;
  comm::together(world, [&] {
    const std::vector<io::CheckpointFile> found = io::list_checkpoints(folder);
    files = std::ssize(found);
    if (resume == RunOptions::Resume::none && files > 0) {
      refuse_new_run(folder, found.front().path);
    }
    if (resume == RunOptions::Resume::latest && files == 0) {
      fail(ExitCode::no_input, "{}: --resume latest, but there is no checkpoint; --resume auto starts a new run then",
           folder.string());
    }
  });
  world.max(std::span<std::int64_t>(&files, 1));
  return files;
}

}  // namespace

std::optional<io::CheckpointReader> find_start(comm::Communicator& world, const std::filesystem::path& folder,
                                               const RunOptions& options) {
  if (options.resume == RunOptions::Resume::file) {
    return std::make_optional<io::CheckpointReader>(world, options.resume_file, look_for_stop);
  }
  const std::int64_t files = count_checkpoints(world, folder, options.resume);
  if (files == 0) {
    return std::nullopt;
  }
  io::NewestGood newest = io::newest_good(world, folder, look_for_stop);
  for (const std::string& reason : newest.bad) {
    log::warn("passed over: {}", reason);
  }
  if (!newest.checkpoint) {
    fail(ExitCode::no_input,
         "{}: none of its {} checkpoints can be read (the newest: {}); restore one from a copy, or start a new run in "
         "another checkpoint.dir",
         folder.string(), files, newest.bad.empty() ? "no reason given" : newest.bad.front());
  }
  return std::move(newest.checkpoint);
}

}  // namespace hrm::train
