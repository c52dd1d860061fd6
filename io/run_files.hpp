#pragma once
// What becomes of the files of a run folder: the link to the newest checkpoint, those set aside, and those deleted. One
// rank calls.
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/disk.hpp"

namespace hrm::io {

inline constexpr const char* latest_name = "latest.h5";

/// The file that the link `file` leads to now; `file` itself where it is no link or leads nowhere. A reader that opens
/// a file several times reads one checkpoint then, though a run that goes on turns its link to the next.
std::filesystem::path resolved(const std::filesystem::path& file);

/// Lets latest.h5 of `folder` point to the file `name` beside it, durably; 73 where the file system has no links.
void point_latest(const std::filesystem::path& folder, const std::string& name);

/// Renames `file` to "FILE.old-N", N above that of every such name, and returns that. The folder is not synced.
std::filesystem::path set_aside(const std::filesystem::path& file);

/// Of the files in `folder` that were set aside and whose names begin so, the `keep` written last stay. Deletes the
/// others; what cannot be deleted stays.
void delete_set_aside(const std::filesystem::path& folder, std::string_view beginning, std::int64_t keep);

/// Deletes the checkpoints of these steps in `folder`, but never the target of latest.h5. One rank calls it. Returns
/// what was deleted, still open: its room is given back when it is closed.
std::vector<RawFile> delete_checkpoints(const std::filesystem::path& folder, std::span<const std::int64_t> steps);

}  // namespace hrm::io
