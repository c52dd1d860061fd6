#include <algorithm>
#include <limits>
#include <memory>
#include <utility>

#include "io/hdf5_check.hpp"

namespace hrm::io::h5 {
namespace {

constexpr std::int64_t deflate_ratio = 1032;      // no filter that is read here expands more
constexpr std::int64_t smallest_limit = 1 << 10;  // bytes: small chunks are never refused

}  // namespace

Dataset::Dataset(Handle handle, std::string file, std::string path)
    : Object(std::move(handle), std::move(file), std::move(path)) {
  const Handle on_disk(H5Dget_type(id()));
  type_ = classify(check(on_disk.id(), "tell the type"));
  element_bytes_ = static_cast<std::int64_t>(H5Tget_size(on_disk.id()));
  const Handle space(H5Dget_space(id()));
  const auto rank = static_cast<std::size_t>(check(H5Sget_simple_extent_ndims(space.id()), "tell the shape"));
  std::vector<hsize_t> extents(rank);
  check(H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr), "tell the shape");
  std::int64_t bytes = element_bytes_;
  bool fits = H5Sget_simple_extent_type(space.id()) != H5S_NULL;
  for (const hsize_t extent : extents) {
    fits = fits && extent <= static_cast<hsize_t>(std::numeric_limits<std::int64_t>::max()) &&
           !__builtin_mul_overflow(bytes, static_cast<std::int64_t>(extent), &bytes);
    shape_.push_back(static_cast<std::int64_t>(extent));
  }
  if (!fits) {
    fail(ExitCode::bad_data, "{}: {} has no size, or one that no file has; write the file anew with this program",
         this->file(), this->path());
  }
}

std::int64_t Dataset::count() const {
  std::int64_t n = 1;
  for (const std::int64_t extent : shape_) {
    n *= extent;
  }
  return n;
}

std::size_t Dataset::stored_count() const {
  const Handle properties(H5Dget_create_plist(id()));
  const H5D_layout_t layout = H5Pget_layout(properties.id());
  std::int64_t most = std::min(static_cast<std::int64_t>(H5Dget_storage_size(id())), file_bytes());
  std::int64_t needed = count() * element_bytes_;
  if (layout == H5D_CHUNKED) {
    std::vector<hsize_t> chunk(shape_.size());
    H5Pget_chunk(properties.id(), static_cast<int>(chunk.size()), chunk.data());
    double chunk_size = static_cast<double>(element_bytes_);
    for (const hsize_t extent : chunk) {
      chunk_size *= static_cast<double>(extent);
    }
    most = std::max(most, smallest_limit) * deflate_ratio;
    needed = chunk_size > static_cast<double>(most) ? most + 1 : needed;  // the library unpacks a chunk as a whole
  }
  const bool elsewhere = layout == H5D_VIRTUAL || H5Pget_external_count(properties.id()) != 0;
  if (elsewhere || needed > most) {
    fail(ExitCode::bad_data, "{}: {} is larger than what the file stores of it; restore the file from a copy", file(),
         path());
  }
  return static_cast<std::size_t>(count());
}

std::int64_t Dataset::offset() const {
  if (count() == 0) {
    return 0;
  }
  const Handle properties(H5Dget_create_plist(id()));
  const haddr_t address = H5Dget_offset(id());
  if (H5Pget_layout(properties.id()) != H5D_CONTIGUOUS || H5Pget_external_count(properties.id()) != 0 ||
      address == HADDR_UNDEF) {
    H5Eclear2(H5E_DEFAULT);
    fail(ExitCode::bad_data, "{}: {} is not stored in one piece; write the file anew with this program", file(),
         path());
  }
  return static_cast<std::int64_t>(address);
}

void Dataset::read_raw(void* out, Type memory) const {
  if (!widens(type_, memory)) {
    fail(ExitCode::bad_data, "{}: {} is {}, expected {}; write the file anew with this program", file(), path(),
         name(type_), name(memory));
  }
  check(H5Dread(id(), memory_type(memory), H5S_ALL, H5S_ALL, H5P_DEFAULT, out), "read");
}

void Dataset::write_raw(const void* data, std::size_t n, Type memory) {
  ensure(static_cast<std::int64_t>(n) == count(), "HDF5 write: wrong number of elements");
  check(H5Dwrite(id(), memory_type(memory), H5S_ALL, H5S_ALL, H5P_DEFAULT, data), "write", true);
}

void Dataset::read_slab(std::int64_t first, void* out, std::size_t n, Type memory) const {
  if (shape_.size() != 1 || first < 0 || static_cast<std::int64_t>(n) > shape_[0] - first || !widens(type_, memory)) {
    fail(ExitCode::bad_data, "{}: {} does not hold {} elements of {} from {}; write the file anew with this program",
         file(), path(), n, name(memory), first);
  }
  const hsize_t start[1] = {static_cast<hsize_t>(first)};
  const hsize_t extent[1] = {n};
  const Handle in_file(H5Dget_space(id()));
  const Handle in_memory(H5Screate_simple(1, extent, nullptr));
  check(H5Sselect_hyperslab(in_file.id(), H5S_SELECT_SET, start, nullptr, extent, nullptr), "select a part");
  check(H5Dread(id(), memory_type(memory), in_memory.id(), in_file.id(), H5P_DEFAULT, out), "read a part");
}

namespace {

/// Texts that the library allocated, given back to it.
struct TextList {
  const Handle& type;
  const Handle& space;
  std::vector<char*> texts;
  ~TextList() { H5Dvlen_reclaim(type.id(), space.id(), H5P_DEFAULT, texts.data()); }
};

std::vector<std::string> split_fixed(const std::string& bytes, std::size_t length) {
  std::vector<std::string> texts;
  for (std::size_t at = 0; at < bytes.size(); at += length) {
    const std::string text = bytes.substr(at, length);
    texts.push_back(text.substr(0, text.find('\0')));
  }
  return texts;
}

}  // namespace

std::vector<std::string> Dataset::read_strings() const {
  if (type_ != Type::string) {
    fail(ExitCode::bad_data, "{}: {} is no text; write the file anew with this program", file(), path());
  }
  const std::size_t n = stored_count();
  const Handle on_disk(H5Dget_type(id()));
  if (H5Tis_variable_str(on_disk.id()) <= 0) {
    std::string bytes(n * H5Tget_size(on_disk.id()), '\0');
    check(H5Dread(id(), on_disk.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), "read");
    return split_fixed(bytes, H5Tget_size(on_disk.id()));
  }
  const Handle space(H5Dget_space(id()));
  TextList list{on_disk, space, std::vector<char*>(n, nullptr)};
  check(H5Dread(id(), on_disk.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, list.texts.data()), "read");
  std::vector<std::string> texts;
  for (const char* text : list.texts) {
    texts.emplace_back(text == nullptr ? "" : text);
  }
  return texts;
}

std::vector<std::byte> Dataset::read_bytes() const {
  if (type_ != Type::compound && element_size(type_) == 0) {
    fail(ExitCode::bad_data, "{}: {} is neither numbers nor a table; write the file anew with this program", file(),
         path());
  }
  const Handle on_disk(H5Dget_type(id()));
  std::vector<std::byte> bytes(stored_count() * static_cast<std::size_t>(element_bytes_));
  check(H5Dread(id(), on_disk.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), "read");
  return bytes;
}

std::pair<std::size_t, std::size_t> Dataset::member(const std::string& name) const {
  const Handle on_disk(H5Dget_type(id()));
  const int index = H5Tget_member_index(on_disk.id(), name.c_str());
  if (index < 0) {
    H5Eclear2(H5E_DEFAULT);
    fail(ExitCode::bad_data, "{}: {} has no column {}; write the file anew with this program", file(), path(), name);
  }
  const auto at = static_cast<unsigned>(index);
  const Handle member_type(H5Tget_member_type(on_disk.id(), at));
  return {H5Tget_member_offset(on_disk.id(), at), H5Tget_size(member_type.id())};
}

}  // namespace hrm::io::h5
