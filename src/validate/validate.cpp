#include "validate/validate.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "validate/cases.hpp"
#include "validate/json_file.hpp"

namespace hrm::validate {
namespace {

constexpr std::string_view hdf5_signature = "\x89HDF\r\n\x1a\n";

/// HDF5's signature stands at the start or, behind a user block, at 512, 1024, 2048, … InputError(no_input) where the
/// file cannot be read.
bool is_hdf5(const std::string& path) {
  constexpr std::streamoff last_place = 1 << 20;
  std::ifstream file(path, std::ios::binary);
  std::string bytes(hdf5_signature.size(), '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.is_open() || file.bad() || (file.gcount() == 0 && !file.eof())) {
    fail(ExitCode::no_input, "{}: cannot read: {}; check the path", path, std::strerror(errno));
  }
  for (std::streamoff place = 512; file && bytes != hdf5_signature && place <= last_place; place *= 2) {
    file.seekg(place);
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  return bytes == hdf5_signature;
}

[[noreturn]] void refuse(const std::string& path) {
  fail(ExitCode::bad_data, "{}: no golden file of a known kind; take one of those that the specification lists", path);
}

void validate_hdf5(const std::string& path, const Layout& layout, Report& report) {
  const GoldenFile file(path);
  const std::vector<std::string> groups = file.children("/");
  if (file.integer_attribute("/", "format_version") != 1) {
    file.refuse("/@format_version", "is another than 1");
  }
  if (file.has("/batch")) {
    validate_model(file, layout, report);
  } else if (file.has("/prompt_0")) {
    validate_decode(file, layout, report);
  } else if (file.has("/batch_0")) {
    validate_ranks(file, layout, report);
  } else if (file.has("/step_1")) {
    validate_optimizer(file, report);
  } else if (std::any_of(groups.begin(), groups.end(), is_operation)) {
    validate_operations(file, *layout.grid.device, report);
  } else {
    refuse(path);
  }
}

void validate_json(const std::string& path, Report& report) {
  std::ifstream file(path, std::ios::binary);
  const nlohmann::json content = nlohmann::json::parse(file, nullptr, false);
  if (!content.is_object()) {
    refuse(path);
  }
  if (content.contains("cases")) {
    validate_multipack(path, content, report);
  } else if (content.contains("lr")) {
    validate_schedules(path, content, report);
  } else {
    refuse(path);
  }
}

}  // namespace

void validate_file(const std::string& path, const Layout& layout, Report& report) {
  const std::int64_t before = report.lines();
  report.begin_file(path);
  if (is_hdf5(path)) {
    validate_hdf5(path, layout, report);
  } else {
    validate_json(path, report);
  }
  if (report.lines() == before) {
    fail(ExitCode::bad_data, "{}: holds nothing to compare; take an undamaged golden file", path);
  }
}

}  // namespace hrm::validate
