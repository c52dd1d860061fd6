#include "io/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <functional>

#include "base/error.hpp"

namespace hrm::io {
namespace {

/// Step in "step-00001234.h5"; -1 for other names.
std::int64_t step_of_name(const std::string& name) {
  constexpr std::string_view prefix = "step-";
  constexpr std::string_view suffix = ".h5";
  if (!name.starts_with(prefix) || !name.ends_with(suffix) || name.size() <= prefix.size() + suffix.size()) {
    return -1;
  }
  std::int64_t step = -1;
  const char* end = name.data() + name.size() - suffix.size();
  const auto result = std::from_chars(name.data() + prefix.size(), end, step);
  return result.ec == std::errc() && result.ptr == end ? step : -1;
}

}  // namespace

std::int64_t TensorInfo::count() const {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape) {
    n *= extent;
  }
  return n;
}

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("step-{:08d}.h5", step);
}

std::vector<CheckpointFile> list_checkpoints(const std::filesystem::path& folder) {
  std::vector<CheckpointFile> files;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(folder, missing)) {
    const std::int64_t step = step_of_name(entry.path().filename().string());
    if (step >= 0) {
      files.push_back({step, entry.path()});
    }
  }
  std::ranges::sort(files, std::ranges::greater{}, &CheckpointFile::step);
  return files;
}

}  // namespace hrm::io
