// Handles and attributes.
#include <algorithm>
#include <utility>

#include "io/hdf5_check.hpp"

namespace hrm::io::h5 {

Handle::Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)) {}

Handle& Handle::operator=(Handle&& other) noexcept {
  std::swap(id_, other.id_);
  return *this;
}

Handle::~Handle() {
  if (id_ >= 0) {
    H5Idec_ref(id_);  // closes whatever kind it is; a failure here cannot be reported
  }
}

hid_t Object::check(std::int64_t status, const char* tried, bool writing) const {
  return h5::check(status, file_, path_, tried, writing);
}

std::int64_t Object::file_bytes() const {
  const Handle file(H5Iget_file_id(id()));
  hsize_t bytes = 0;
  check(H5Fget_filesize(file.id(), &bytes), "tell the file's size");
  return static_cast<std::int64_t>(bytes);
}

bool Object::has_attribute(const std::string& name) const {
  return h5::check(H5Aexists(id(), name.c_str()), file_, path_, "look up an attribute", false) > 0;
}

std::vector<std::string> Object::attribute_names() const {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5A_info_t*, void* list) -> herr_t {
    static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    return 0;
  };
  hsize_t position = 0;
  h5::check(H5Aiterate2(id(), H5_INDEX_NAME, H5_ITER_INC, &position, add, &names), file_, path_, "list the attributes",
            false);
  std::sort(names.begin(), names.end());
  return names;
}

void Object::write_scalar(const std::string& name, hid_t on_disk, hid_t in_memory, const void* value) {
  const std::string object = path_ + "@" + name;
  const Handle space(H5Screate(H5S_SCALAR));
  const Handle attribute(has_attribute(name)
                             ? H5Aopen(id(), name.c_str(), H5P_DEFAULT)
                             : H5Acreate2(id(), name.c_str(), on_disk, space.id(), H5P_DEFAULT, H5P_DEFAULT));
  h5::check(attribute.id(), file_, object, "make the attribute", true);
  h5::check(H5Awrite(attribute.id(), in_memory, value), file_, object, "write the attribute", true);
}

void Object::set_attribute(const std::string& name, std::int64_t value) {
  write_scalar(name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

void Object::set_attribute(const std::string& name, std::uint64_t value) {
  write_scalar(name, H5T_STD_U64LE, H5T_NATIVE_UINT64, &value);
}

void Object::set_attribute(const std::string& name, double value) {
  write_scalar(name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

void Object::set_attribute(const std::string& name, const std::string& value) {
  const Handle type = text_type();
  const char* text = value.c_str();
  write_scalar(name, type.id(), type.id(), &text);
}

Type Object::attribute_type(const std::string& name) const {
  const Handle attribute(H5Aopen(id(), name.c_str(), H5P_DEFAULT));
  h5::check(attribute.id(), file_, path_ + "@" + name, "open the attribute", false);
  const Handle type(H5Aget_type(attribute.id()));
  return classify(h5::check(type.id(), file_, path_ + "@" + name, "tell the attribute's type", false));
}

Handle Object::open_attribute(const std::string& name, Type expected) const {
  if (!has_attribute(name)) {
    fail(ExitCode::bad_data, "{}: {} lacks the attribute {}; write the file anew with this program", file_, path_,
         name);
  }
  Handle attribute(H5Aopen(id(), name.c_str(), H5P_DEFAULT));
  h5::check(attribute.id(), file_, path_ + "@" + name, "open the attribute", false);
  const Handle space(H5Aget_space(attribute.id()));
  const bool single = H5Sget_simple_extent_npoints(space.id()) == 1;
  const Type found = attribute_type(name);
  const bool integers = (expected == Type::int64 || expected == Type::uint64) && element_size(found) > 0 &&
                        found != Type::float32 && found != Type::float64;
  if (!single || !(integers || widens(found, expected))) {
    fail(ExitCode::bad_data, "{}: {}: the attribute {} is no single {}; write the file anew with this program", file_,
         path_, name, h5::name(expected));
  }
  return attribute;
}

std::int64_t Object::int64_attribute(const std::string& name) const {
  std::int64_t value = 0;
  const Handle attribute = open_attribute(name, Type::int64);
  h5::check(H5Aread(attribute.id(), H5T_NATIVE_INT64, &value), file_, path_ + "@" + name, "read the attribute", false);
  return value;
}

std::uint64_t Object::uint64_attribute(const std::string& name) const {
  std::uint64_t value = 0;
  const Handle attribute = open_attribute(name, Type::uint64);
  h5::check(H5Aread(attribute.id(), H5T_NATIVE_UINT64, &value), file_, path_ + "@" + name, "read the attribute", false);
  return value;
}

double Object::float64_attribute(const std::string& name) const {
  double value = 0;
  const Handle attribute = open_attribute(name, Type::float64);
  h5::check(H5Aread(attribute.id(), H5T_NATIVE_DOUBLE, &value), file_, path_ + "@" + name, "read the attribute", false);
  return value;
}

std::vector<double> Object::numbers_attribute(const std::string& name) const {
  if (!has_attribute(name) || element_size(attribute_type(name)) == 0) {
    fail(ExitCode::bad_data, "{}: {} has no numeric attribute {}; write the file anew", file_, path_, name);
  }
  const Handle attribute(H5Aopen(id(), name.c_str(), H5P_DEFAULT));
  h5::check(attribute.id(), file_, path_ + "@" + name, "open the attribute", false);
  const Handle space(H5Aget_space(attribute.id()));
  const hssize_t count = H5Sget_simple_extent_npoints(space.id());
  if (count < 0 || count > file_bytes()) {
    fail(ExitCode::bad_data, "{}: {}: the attribute {} is larger than the file; write the file anew", file_, path_,
         name);
  }
  std::vector<double> values(static_cast<std::size_t>(count));
  h5::check(H5Aread(attribute.id(), H5T_NATIVE_DOUBLE, values.data()), file_, path_ + "@" + name, "read the attribute",
            false);
  return values;
}

std::string Object::string_attribute(const std::string& name) const {
  const Handle attribute = open_attribute(name, Type::string);
  const Handle on_disk(H5Aget_type(attribute.id()));
  const std::string object = path_ + "@" + name;
  if (H5Tis_variable_str(on_disk.id()) <= 0) {
    const std::size_t size = H5Tget_size(on_disk.id());
    if (static_cast<std::int64_t>(size) > file_bytes()) {
      fail(ExitCode::bad_data, "{}: the text is larger than the file; write the file anew", object);
    }
    std::string text(size, '\0');
    h5::check(H5Aread(attribute.id(), on_disk.id(), text.data()), file_, object, "read the attribute", false);
    return text.substr(0, text.find('\0'));
  }
  char* text = nullptr;
  h5::check(H5Aread(attribute.id(), on_disk.id(), &text), file_, object, "read the attribute", false);
  std::string copy = text == nullptr ? "" : text;
  const Handle space(H5Aget_space(attribute.id()));
  H5Dvlen_reclaim(on_disk.id(), space.id(), H5P_DEFAULT, &text);
  return copy;
}

}  // namespace hrm::io::h5
