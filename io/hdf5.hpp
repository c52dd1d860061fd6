#pragma once
// What this program uses of the HDF5 C API, as move-only handles. Every failed call becomes one InputError that names
// file, object, what was tried and the library's own words: 65 while reading, 74 while writing. Destructors never
// throw. The library's own error printing is off. Metadata are always written by one process, through this, and reach
// the disk as hdf5_image.hpp says; bulk data go to Dataset::offset() with plain reads and writes, which any number of
// ranks and threads can do, once the file is closed.
#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace hrm::io::h5 {

class Image;

enum class Type { uint8, uint16, uint32, int32, uint64, int64, float32, float64, string, compound, other };

/// Bytes of one element on disk; 0 for string, compound, other.
std::size_t element_size(Type type);
const char* name(Type type);

template <class T>
constexpr Type type_of();

/// Owns one HDF5 identifier of any kind.
class Handle {
 public:
  Handle() = default;
  explicit Handle(hid_t id) : id_(id) {}
  Handle(Handle&& other) noexcept;
  Handle& operator=(Handle&& other) noexcept;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle();
  hid_t id() const { return id_; }
  /// The identifier, which is the caller's to close from now on.
  hid_t release() { return std::exchange(id_, H5I_INVALID_HID); }

 private:
  hid_t id_ = H5I_INVALID_HID;
};

/// A file, group or data set that is open: where it is, for messages, and its attributes.
class Object {
 public:
  const std::string& file() const { return file_; }
  const std::string& path() const { return path_; }

  bool has_attribute(const std::string& name) const;
  std::vector<std::string> attribute_names() const;
  /// Makes the attribute or overwrites its value.
  void set_attribute(const std::string& name, std::int64_t value);
  void set_attribute(const std::string& name, std::uint64_t value);
  void set_attribute(const std::string& name, double value);
  void set_attribute(const std::string& name, const std::string& value);
  Type attribute_type(const std::string& name) const;
  /// A missing attribute or one of another type is 65.
  std::int64_t int64_attribute(const std::string& name) const;
  std::uint64_t uint64_attribute(const std::string& name) const;
  double float64_attribute(const std::string& name) const;
  std::string string_attribute(const std::string& name) const;
  /// All elements of a numeric attribute of any type and shape, as reals.
  std::vector<double> numbers_attribute(const std::string& name) const;

 protected:
  Object(Handle handle, std::string file, std::string path)
      : handle_(std::move(handle)), file_(std::move(file)), path_(std::move(path)) {}
  hid_t id() const { return handle_.id(); }
  /// Opens the attribute or fails; `expected` is what the value is read as.
  Handle open_attribute(const std::string& name, Type expected) const;
  /// Throws with the library's words if `status` tells of a failure.
  hid_t check(std::int64_t status, const char* tried, bool writing = false) const;
  /// Bytes of the file that this is in.
  std::int64_t file_bytes() const;
  hid_t release() { return handle_.release(); }

 private:
  void write_scalar(const std::string& name, hid_t disk_type, hid_t memory_type, const void* value);
  Handle handle_;
  std::string file_;
  std::string path_;
};

class Dataset : public Object {
 public:
  Type type() const { return type_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t count() const;
  /// The same for who takes memory for them: 65 unless the file itself stores as many bytes (deflated data: as they can
  /// have been).
  std::size_t stored_count() const;
  /// Bytes of one element on disk, compounds included.
  std::int64_t element_bytes() const { return element_bytes_; }
  /// Where the raw data start in the file (user block included); 65 unless contiguous and allocated. 0 if empty.
  std::int64_t offset() const;

  /// The whole data set, row-major; type and count must match.
  template <class T>
  std::vector<T> read() const {
    std::vector<T> values(stored_count());
    read_raw(values.data(), type_of<T>());
    return values;
  }
  template <class T>
  void write(std::span<const T> values) {
    write_raw(values.data(), values.size(), type_of<T>());
  }
  /// Elements [first, first + out.size()) of a one-dimensional data set.
  template <class T>
  void read_range(std::int64_t first, std::span<T> out) const {
    read_slab(first, out.data(), out.size(), type_of<T>());
  }
  std::vector<std::string> read_strings() const;
  /// The bytes of numbers or of a compound data set in their type on disk.
  std::vector<std::byte> read_bytes() const;
  /// Offset and size of a compound's member; 65 where there is none.
  std::pair<std::size_t, std::size_t> member(const std::string& name) const;

 private:
  friend class Location;
  Dataset(Handle handle, std::string file, std::string path);
  void read_raw(void* out, Type memory) const;
  void write_raw(const void* data, std::size_t count, Type memory);
  void read_slab(std::int64_t first, void* out, std::size_t count, Type memory) const;
  Type type_ = Type::other;
  std::vector<std::int64_t> shape_;
  std::int64_t element_bytes_ = 0;
};

/// What groups and files have in common: children. Paths may be absolute or relative to this group.
class Location : public Object {
 public:
  /// Whether there is a data set or group of this name in this very file: soft and external links do not count.
  bool has(const std::string& path) const;
  /// Paths of all data sets below, absolute, sorted by bytes.
  std::vector<std::string> dataset_paths() const;
  /// Names of direct children, sorted.
  std::vector<std::string> children() const;

  Location create_group(const std::string& path);
  Location open_group(const std::string& path) const;
  /// Contiguous, allocated at once, not filled: the data are written here or at offset(). Missing groups are made.
  Dataset create_dataset(const std::string& path, Type type, std::span<const std::int64_t> shape);
  Dataset open_dataset(const std::string& path) const;
  /// open_dataset, and 65 unless it has this type and number of dimensions.
  Dataset open_dataset(const std::string& path, Type type, std::size_t dimensions) const;

  /// Variable-length UTF-8; a scalar, and a list [n].
  void write_text(const std::string& path, const std::string& text);
  void write_strings(const std::string& path, std::span<const std::string> texts);
  std::string read_text(const std::string& path) const;
  template <class T>
  void write_array(const std::string& path, std::span<const T> values) {
    const std::int64_t shape[1] = {static_cast<std::int64_t>(values.size())};
    create_dataset(path, type_of<T>(), shape).template write<T>(values);
  }
  /// One-dimensional compound of a fixed-length string member and a uint64 member, rows given as bytes.
  void write_named_digests(const std::string& path, std::size_t name_bytes, std::span<const std::byte> rows);

 protected:
  using Object::Object;
  std::string absolute(const std::string& path) const;
  bool path_of_root() const { return path() == "/"; }

 private:
  void write_text_data(const std::string& path, hid_t space, const void* texts);
};

/// What is written into a file is in memory until close(), and lost without it.
class File : public Location {
 public:
  /// A new file with a user block of 512 bytes and no object times. Bytes depend on the calls only.
  static File create(const std::filesystem::path& path);
  /// 65 where the library cannot open it. Damaged files can crash the library: check the user block first.
  static File open(const std::filesystem::path& path);
  static File open_for_writing(const std::filesystem::path& path);
  /// Closes the file and puts what was written on the disk; 74 where that fails. Bytes that this program has not
  /// written through this file stay as they are, whoever writes them meanwhile.
  void close();

 private:
  File(Handle handle, const std::filesystem::path& path, std::shared_ptr<Image> image = nullptr)
      : Location(std::move(handle), path.string(), "/"), image_(std::move(image)) {}
  std::shared_ptr<Image> image_;
};

/// "1.10.8".
std::string library_version();

template <>
constexpr Type type_of<std::uint8_t>() {
  return Type::uint8;
}
template <>
constexpr Type type_of<std::uint16_t>() {
  return Type::uint16;
}
template <>
constexpr Type type_of<std::uint32_t>() {
  return Type::uint32;
}
template <>
constexpr Type type_of<std::int32_t>() {
  return Type::int32;
}
template <>
constexpr Type type_of<std::uint64_t>() {
  return Type::uint64;
}
template <>
constexpr Type type_of<std::int64_t>() {
  return Type::int64;
}
template <>
constexpr Type type_of<float>() {
  return Type::float32;
}
template <>
constexpr Type type_of<double>() {
  return Type::float64;
}

}  // namespace hrm::io::h5
