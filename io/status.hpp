#pragma once
// status.json: the verdict of a run, for batch scripts and `hrm watch`. Only the lock's holder writes it.
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "io/disk.hpp"

namespace hrm::io {

struct Status {
  std::string run_id;
  std::string state = "starting";  ///< starting, running, saving, finished, stopped, lost_peer, failed
  std::optional<int> exit_code;    ///< null while starting, running, saving
  std::int64_t step = 0;
  std::int64_t planned_steps = 0;
  std::string last_checkpoint;  ///< file name, empty: null
  std::string eta;              ///< expected end, ISO 8601 UTC, empty: null
  std::string reason;           ///< one line, empty: null
  std::string suspect_hosts;    ///< of ranks of which there was no word, joined by commas; empty: null
  std::string job_id;
  std::string host;        ///< empty: this host
  std::string updated_at;  ///< set by write_status
};

/// State that goes with an exit code: 0 finished, 75 stopped, 69 lost_peer, else failed.
std::string state_of_exit(int exit_code);

/// Replaces `folder`/status.json by rename; `durable` syncs it. Two processes that may write at the same time need
/// different tags.
void write_status(const std::filesystem::path& folder, Status status, bool durable = false,
                  std::string_view tag = replacement_tag);

/// Nothing where there is no readable status.json.
std::optional<Status> read_status(const std::filesystem::path& folder);

}  // namespace hrm::io
