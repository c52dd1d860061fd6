#include "validate/validate.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "validate/cases.hpp"
#include "validate/json_file.hpp"

namespace hrm::validate {
namespace {

constexpr std::string_view hdf5_signature = "\x89HDF\r\n\x1a\n";

/// The first bytes of the file. InputError(no_input) where it cannot be read.
std::string beginning(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(hdf5_signature.size(), '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!file.is_open() || file.bad() || (file.gcount() == 0 && !file.eof())) {
    fail(ExitCode::no_input, "{}: cannot read: {}; check the path", path, std::strerror(errno));
  }
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

[[noreturn]] void refuse(const std::string& path) {
  fail(ExitCode::bad_data, "{}: no golden file of a known kind; take one of those that the specification lists", path);
}

void validate_hdf5(const std::string& path, Report& report) {
  const GoldenFile file(path);
  const std::vector<std::string> groups = file.children("/");
  if (file.integer_attribute("/", "format_version") != 1) {
    file.refuse("/@format_version", "is another than 1");
  }
  if (file.has("/batch")) {
    validate_model(file, report);
  } else if (file.has("/prompt_0")) {
    validate_decode(file, report);
  } else if (file.has("/batch_0")) {
    validate_ranks(file, report);
  } else if (file.has("/step_1")) {
    validate_optimizer(file, report);
  } else if (std::any_of(groups.begin(), groups.end(), is_operation)) {
    validate_operations(file, report);
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

void validate_file(const std::string& path, Report& report) {
  const std::int64_t before = report.lines();
  report.begin_file(path);
  if (beginning(path) == hdf5_signature) {
    validate_hdf5(path, report);
  } else {
    validate_json(path, report);
  }
  if (report.lines() == before) {
    fail(ExitCode::bad_data, "{}: holds nothing to compare; take an undamaged golden file", path);
  }
}

}  // namespace hrm::validate
