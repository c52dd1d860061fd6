#pragma once
// Names of a run folder beside the checkpoints' own: the link to the newest one, and what was set aside. One rank
// calls.
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace hrm::io {

inline constexpr const char* latest_name = "latest.h5";

/// Lets latest.h5 of `folder` point to the file `name` beside it, durably; 73 where the file system has no links.
void point_latest(const std::filesystem::path& folder, const std::string& name);

/// Renames `file` to "FILE.old-N", N above that of every such name, and returns that. The folder is not synced.
std::filesystem::path set_aside(const std::filesystem::path& file);

/// Of the files in `folder` that were set aside and whose names begin so, the `keep` written last stay. Deletes the
/// others; what cannot be deleted stays.
void delete_set_aside(const std::filesystem::path& folder, std::string_view beginning, std::int64_t keep);

}  // namespace hrm::io
