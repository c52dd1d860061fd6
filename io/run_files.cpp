#include "io/run_files.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "io/checkpoint.hpp"

namespace hrm::io {
namespace {

constexpr std::string_view aside_mark = ".old-";

/// N of "….old-N"; 0 for other names.
std::int64_t aside_number(std::string_view name) {
  const std::size_t mark = name.rfind(aside_mark);
  if (mark == std::string_view::npos) {
    return 0;
  }
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data() + mark + aside_mark.size(), name.data() + name.size(), number);
  return error == std::errc() && end == name.data() + name.size() ? number : 0;
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : ".";
}

}  // namespace

std::filesystem::path resolved(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::is_symlink(file, error)) {
    return file;
  }
  std::filesystem::path target = std::filesystem::canonical(file, error);
  return error ? file : target;
}

void point_latest(const std::filesystem::path& folder, const std::string& name) {
  const std::filesystem::path link = folder / latest_name;
  const std::filesystem::path temporary = temporary_name(link, replacement_tag);
  std::error_code error;
  std::filesystem::remove(temporary, error);
  std::filesystem::create_symlink(name, temporary, error);
  if (error) {
    fail(ExitCode::cannot_create, "{}: cannot make the link to {}: {}; checkpoint folders need symbolic links",
         link.string(), name, error.message());
  }
  publish(temporary, link);
}

std::filesystem::path set_aside(const std::filesystem::path& file) {
  const std::string beginning = file.filename().string() + std::string(aside_mark);
  std::int64_t last = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_of(file))) {
    const std::string name = entry.path().filename().string();
    last = std::max(last, name.starts_with(beginning) ? aside_number(name) : 0);
  }
  std::filesystem::path aside = folder_of(file) / fmt::format("{}{}", beginning, last + 1);
  std::filesystem::rename(file, aside);
  return aside;
}

void delete_set_aside(const std::filesystem::path& folder, std::string_view beginning, std::int64_t keep) {
  std::error_code ignored;
  std::vector<std::pair<std::filesystem::file_time_type, std::filesystem::path>> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder.empty() ? "." : folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(beginning) && aside_number(name) > 0) {
      files.emplace_back(std::filesystem::last_write_time(entry.path(), ignored), entry.path());
    }
  }
  std::ranges::sort(files, std::ranges::greater{});
  for (auto file = files.begin() + std::min(keep, std::ssize(files)); file != files.end(); ++file) {
    std::filesystem::remove(file->second, ignored);
  }
}

std::vector<RawFile> delete_checkpoints(const std::filesystem::path& folder, std::span<const std::int64_t> steps) {
  std::error_code ignored;
  const std::filesystem::path latest = std::filesystem::read_symlink(folder / latest_name, ignored).filename();
  std::vector<RawFile> deleted;
  for (const std::int64_t step : steps) {
    const std::filesystem::path file = folder / checkpoint_name(step);
    if (file.filename() == latest) {
      continue;
    }
    RawFile open = RawFile::try_open(file, RawFile::Mode::read);
    if (std::filesystem::remove(file, ignored)) {
      deleted.push_back(std::move(open));
    }
  }
  return deleted;
}

}  // namespace hrm::io
