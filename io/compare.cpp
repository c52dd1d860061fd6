// The part of inspect.hpp that compares two files.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "base/error.hpp"
#include "io/checkpoint_file.hpp"
#include "io/disk.hpp"
#include "io/format.hpp"
#include "io/inspect.hpp"
#include "io/integrity.hpp"
#include "io/run_files.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

constexpr std::int64_t chunk_elements = std::int64_t{1} << 18;

bool counts_in(const std::string& format, const std::string& path) {
  if (format == checkpoint_format) {
    return is_tensor_path(path) || path.starts_with(std::string(guard_path) + "/");
  }
  return path != integrity_path;
}

template <class T>
double distance(const std::byte* a, const std::byte* b) {
  T x;
  T y;
  std::memcpy(&x, a, sizeof x);
  std::memcpy(&y, b, sizeof y);
  return std::abs(static_cast<double>(x) - static_cast<double>(y));
}

double distance(h5::Type type, const std::byte* a, const std::byte* b) {
  switch (type) {
    case h5::Type::uint8:
      return distance<std::uint8_t>(a, b);
    case h5::Type::uint16:
      return distance<std::uint16_t>(a, b);
    case h5::Type::uint32:
      return distance<std::uint32_t>(a, b);
    case h5::Type::int32:
      return distance<std::int32_t>(a, b);
    case h5::Type::uint64:
      return distance<std::uint64_t>(a, b);
    case h5::Type::int64:
      return distance<std::int64_t>(a, b);
    case h5::Type::float32:
      return distance<float>(a, b);
    case h5::Type::float64:
      return distance<double>(a, b);
    default:
      return std::numeric_limits<double>::quiet_NaN();
  }
}

/// NaN wins, so that it is not hidden.
double larger(double a, double b) {
  return std::isnan(a) || a > b ? a : b;
}

void compare_chunk(h5::Type type, std::span<const std::byte> a, std::span<const std::byte> b, std::size_t size,
                   Difference& difference) {
  if (std::memcmp(a.data(), b.data(), a.size()) == 0) {
    return;
  }
  for (std::size_t at = 0; at < a.size(); at += size) {
    if (std::memcmp(a.data() + at, b.data() + at, size) != 0) {
      difference.count += 1;
      difference.largest = larger(distance(type, a.data() + at, b.data() + at), difference.largest);
    }
  }
}

void compare_numbers(const h5::Dataset& a, const h5::Dataset& b, Difference& difference) {
  const RawFile file_a(a.file(), RawFile::Mode::read);
  const RawFile file_b(b.file(), RawFile::Mode::read);
  const std::int64_t size = a.element_bytes();
  const std::int64_t offset_a = a.offset();
  const std::int64_t offset_b = b.offset();
  std::vector<std::byte> chunk_a;
  std::vector<std::byte> chunk_b;
  for (std::int64_t first = 0; first < a.count(); first += chunk_elements) {
    const std::int64_t count = std::min(chunk_elements, a.count() - first);
    chunk_a.resize(static_cast<std::size_t>(count * size));
    chunk_b.resize(chunk_a.size());
    file_a.read_at(offset_a + first * size, chunk_a);
    file_b.read_at(offset_b + first * size, chunk_b);
    compare_chunk(a.type(), chunk_a, chunk_b, static_cast<std::size_t>(size), difference);
  }
}

void compare_texts(const h5::Dataset& a, const h5::Dataset& b, Difference& difference) {
  const std::vector<std::string> texts_a = a.read_strings();
  const std::vector<std::string> texts_b = b.read_strings();
  for (std::size_t i = 0; i < texts_a.size(); ++i) {
    difference.count += texts_a[i] == texts_b[i] ? 0 : 1;
  }
  difference.largest = difference.count > 0 ? std::numeric_limits<double>::quiet_NaN() : 0;
}

std::int64_t step_of(const h5::Dataset& dataset) {
  return dataset.has_attribute("step") ? dataset.int64_attribute("step") : -1;
}

/// `what` stays empty where the data sets are the same.
Difference compare_datasets(const h5::Dataset& a, const h5::Dataset& b) {
  Difference difference;
  difference.path = a.path();
  if (a.type() != b.type()) {
    difference.what = "type";
  } else if (a.shape() != b.shape()) {
    difference.what = "shape";
  } else {
    a.type() == h5::Type::string ? compare_texts(a, b, difference) : compare_numbers(a, b, difference);
    difference.what = difference.count > 0 ? "values" : step_of(a) != step_of(b) ? "step attribute" : "";
  }
  return difference;
}

/// Format of a file whose digest is right.
std::string open_format(const h5::File& file) {
  std::string format = file.string_attribute("format");
  check_format(file, format);
  return format;
}

}  // namespace

Comparison compare_files(const std::filesystem::path& named_a, const std::filesystem::path& named_b) {
  const std::filesystem::path path_a = resolved(named_a);
  const std::filesystem::path path_b = resolved(named_b);
  verify_user_block(path_a);
  verify_user_block(path_b);
  const h5::File a = h5::File::open(path_a);
  const h5::File b = h5::File::open(path_b);
  const std::string format = open_format(a);
  if (open_format(b) != format) {
    fail(ExitCode::bad_data, "{} is a {}, {} a {}; compare files of one kind", path_a.string(), format, path_b.string(),
         open_format(b));
  }
  const std::vector<std::string> in_a = a.dataset_paths();
  const std::vector<std::string> in_b = b.dataset_paths();
  std::set<std::string> paths(in_a.begin(), in_a.end());
  paths.insert(in_b.begin(), in_b.end());
  Comparison result;
  for (const std::string& path : paths) {
    if (path == integrity_path) {
      continue;
    }
    Difference difference{path, "", 0, 0, true};
    if (!std::ranges::binary_search(in_b, path)) {
      difference.what = "only in the first file";
    } else if (!std::ranges::binary_search(in_a, path)) {
      difference.what = "only in the second file";
    } else {
      difference = compare_datasets(a.open_dataset(path), b.open_dataset(path));
    }
    if (!difference.what.empty()) {
      difference.counts = counts_in(format, path);
      result.same = result.same && !difference.counts;
      result.differences.push_back(difference);
    }
  }
  return result;
}

}  // namespace hrm::io
