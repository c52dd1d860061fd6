#include "validate/golden_file.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace hrm::validate {
namespace {

using io::h5::Type;

std::string shape_text(const Shape& shape) {
  std::string text = "[";
  for (const std::int64_t extent : shape) {
    text += fmt::format("{}{}", text.size() > 1 ? ", " : "", extent == any_extent ? "any" : std::to_string(extent));
  }
  return text + "]";
}

bool matches(const Shape& found, const Shape& wanted) {
  if (found.size() != wanted.size()) {
    return false;
  }
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (wanted[i] != any_extent && wanted[i] != found[i]) {
      return false;
    }
  }
  return true;
}

}  // namespace

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) {
    count *= extent;
  }
  return count;
}

GoldenFile::GoldenFile(const std::string& path)
    : path_(path), file_(io::h5::File::open(path)), datasets_(file_.dataset_paths()) {}

bool GoldenFile::is_dataset(const std::string& path) const {
  return std::binary_search(datasets_.begin(), datasets_.end(), path);
}

void GoldenFile::refuse(const std::string& path, const std::string& what) const {
  fail(ExitCode::bad_data, "{}: {}: {}; take an undamaged golden file", path_, path, what);
}

std::vector<std::string> GoldenFile::children(const std::string& group) const {
  if (!file_.has(group) || is_dataset(group)) {
    refuse(group, "is no group");
  }
  return file_.open_group(group).children();
}

Shape GoldenFile::shape(const std::string& path) const {
  if (!is_dataset(path)) {
    refuse(path, "the data set is missing");
  }
  return file_.open_dataset(path).shape();
}

io::h5::Dataset GoldenFile::open(const std::string& path, const Shape& wanted) const {
  const Shape found = shape(path);
  if (!matches(found, wanted)) {
    refuse(path, fmt::format("has shape {} where {} belongs", shape_text(found), shape_text(wanted)));
  }
  return file_.open_dataset(path);
}

Reals GoldenFile::reals(const std::string& path, const Shape& shape) const {
  const io::h5::Dataset dataset = open(path, shape);
  if (dataset.type() == Type::float64 || dataset.type() == Type::float32) {
    return dataset.read<double>();
  }
  const Ints whole = ints(path, shape);
  return Reals(whole.begin(), whole.end());
}

Ints GoldenFile::ints(const std::string& path, const Shape& shape) const {
  const io::h5::Dataset dataset = open(path, shape);
  if (dataset.type() != Type::int64 && dataset.type() != Type::int32) {
    refuse(path, fmt::format("holds {} where whole numbers belong", io::h5::name(dataset.type())));
  }
  return dataset.read<std::int64_t>();
}

std::vector<std::int32_t> GoldenFile::ids(const std::string& path, const Shape& shape) const {
  std::vector<std::int32_t> narrow;
  for (const std::int64_t value : ints(path, shape)) {
    if (value != static_cast<std::int32_t>(value)) {
      refuse(path, fmt::format("{} does not fit 32 bits", value));
    }
    narrow.push_back(static_cast<std::int32_t>(value));
  }
  return narrow;
}

Reals GoldenFile::reals_attribute(const std::string& object, const std::string& name) const {
  if (object == "/") {
    return file_.numbers_attribute(name);
  }
  if (!file_.has(object)) {
    refuse(object, "is missing");
  }
  return is_dataset(object) ? file_.open_dataset(object).numbers_attribute(name)
                            : file_.open_group(object).numbers_attribute(name);
}

bool GoldenFile::has_attribute(const std::string& object, const std::string& name) const {
  if (object == "/") {
    return file_.has_attribute(name);
  }
  return is_dataset(object) ? file_.open_dataset(object).has_attribute(name)
                            : file_.open_group(object).has_attribute(name);
}

double GoldenFile::real_attribute(const std::string& object, const std::string& name) const {
  const Reals values = reals_attribute(object, name);
  if (values.size() != 1) {
    refuse(object + "@" + name, "is no single number");
  }
  return values[0];
}

std::int64_t GoldenFile::integer_attribute(const std::string& object, const std::string& name) const {
  constexpr double exact = 9007199254740992.0;  // 2^53: every whole number below is exact in a double
  const double value = real_attribute(object, name);
  if (!(std::abs(value) <= exact) || value != std::floor(value)) {
    refuse(object + "@" + name, fmt::format("{} is no whole number", value));
  }
  return static_cast<std::int64_t>(value);
}

bool GoldenFile::flag_attribute(const std::string& object, const std::string& name) const {
  const double value = real_attribute(object, name);
  if (value != 0 && value != 1) {
    refuse(object + "@" + name, fmt::format("{} is neither 0 nor 1", value));
  }
  return value == 1;
}

std::string GoldenFile::text_attribute(const std::string& name) const {
  return file_.string_attribute(name);
}

}  // namespace hrm::validate
