#pragma once
// Typed reading of golden HDF5 files (golden C). What is missing or has another type or shape is InputError(bad_data)
// naming file and data set: never a pass.
#include <cstdint>
#include <string>
#include <vector>

#include "io/hdf5.hpp"

namespace hrm::validate {

using Shape = std::vector<std::int64_t>;
using Reals = std::vector<double>;
using Ints = std::vector<std::int64_t>;

/// Extent that a shape leaves open.
inline constexpr std::int64_t any_extent = -1;

class GoldenFile {
 public:
  explicit GoldenFile(const std::string& path);

  const std::string& path() const { return path_; }
  bool has(const std::string& path) const { return file_.has(path); }
  std::vector<std::string> children(const std::string& group) const;
  /// InputError(bad_data) where there is no data set at `path`.
  Shape shape(const std::string& path) const;

  /// Row-major elements; extents of `shape` may be any_extent.
  Reals reals(const std::string& path, const Shape& shape) const;
  Ints ints(const std::string& path, const Shape& shape) const;
  std::vector<std::int32_t> ids(const std::string& path, const Shape& shape) const;
  double real(const std::string& path) const { return reals(path, {})[0]; }
  std::int64_t integer(const std::string& path) const { return ints(path, {})[0]; }

  // Attributes of `object`, "/" for the root.
  bool has_attribute(const std::string& object, const std::string& name) const;
  double real_attribute(const std::string& object, const std::string& name) const;
  std::int64_t integer_attribute(const std::string& object, const std::string& name) const;
  /// 0 or 1.
  bool flag_attribute(const std::string& object, const std::string& name) const;
  Reals reals_attribute(const std::string& object, const std::string& name) const;
  std::string text_attribute(const std::string& name) const;

  /// InputError(bad_data) "FILE: PATH: WHAT".
  [[noreturn]] void refuse(const std::string& path, const std::string& what) const;

 private:
  io::h5::Dataset open(const std::string& path, const Shape& shape) const;
  bool is_dataset(const std::string& path) const;
  std::string path_;
  io::h5::File file_;
  std::vector<std::string> datasets_;  ///< paths, sorted
};

/// Number of elements of a shape.
std::int64_t element_count(const Shape& shape);

}  // namespace hrm::validate
