// Files and groups.
#include <algorithm>
#include <utility>

#include "io/hdf5_check.hpp"
#include "io/hdf5_image.hpp"
#include "io/user_block.hpp"

namespace hrm::io::h5 {
namespace {

constexpr int deepest_group = 16;
constexpr std::int64_t least_link_bytes = 8;

Handle file_access() {
  Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
  // The newest library must still write what 1.10 reads; locks fail on some parallel file systems and guard nothing
  // here.
  H5Pset_libver_bounds(access.id(), H5F_LIBVER_EARLIEST, H5F_LIBVER_V110);
  H5Pset_file_locking(access.id(), false, true);
  return access;
}

/// Contiguous, early, not filled, no times.
Handle dataset_creation(bool text) {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE));
  H5Pset_layout(properties.id(), H5D_CONTIGUOUS);
  H5Pset_alloc_time(properties.id(), H5D_ALLOC_TIME_EARLY);
  if (!text) {
    H5Pset_fill_time(properties.id(), H5D_FILL_TIME_NEVER);  // not allowed for variable-length types
  }
  H5Pset_obj_track_times(properties.id(), false);
  return properties;
}

Handle link_creation() {
  Handle properties(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(properties.id(), 1);
  return properties;
}

Handle space_of(std::span<const std::int64_t> shape) {
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  return Handle(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr));
}

/// Soft and external links are left out: they lead to what this file does not hold.
std::vector<std::string> link_names(hid_t group) {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5L_info_t* info, void* list) -> herr_t {
    if (info->type == H5L_TYPE_HARD) {
      static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    }
    return 0;
  };
  if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names) < 0) {
    H5Eclear2(H5E_DEFAULT);
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// Whether `path` is a link to something in this file.
bool is_hard_link(hid_t location, const std::string& path) {
  H5L_info_t info;
  const bool found = H5Lexists(location, path.c_str(), H5P_DEFAULT) > 0 &&
                     H5Lget_info(location, path.c_str(), &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
  H5Eclear2(H5E_DEFAULT);
  return found;
}

/// Walks down all links, of which a file has no more than its size allows unless they lead in circles.
class DatasetWalk {
 public:
  DatasetWalk(const std::string& file, std::int64_t file_bytes)
      : file_(file), links_left_(file_bytes / least_link_bytes) {}

  void collect(hid_t group, const std::string& path, int depth) {
    for (const std::string& name : link_names(group)) {
      if (--links_left_ < 0 || depth > deepest_group) {
        fail(ExitCode::bad_data, "{}: {}: its links lead too deep or in circles; write the file anew with this program",
             file_, path);
      }
      const Handle child(H5Oopen(group, name.c_str(), H5P_DEFAULT));
      const H5I_type_t kind = child.id() < 0 ? H5I_BADID : H5Iget_type(child.id());
      if (kind == H5I_DATASET) {
        found_.push_back(path + "/" + name);
      } else if (kind == H5I_GROUP) {
        collect(child.id(), path + "/" + name, depth + 1);
      }
    }
    H5Eclear2(H5E_DEFAULT);
  }
  std::vector<std::string>& found() { return found_; }

 private:
  const std::string& file_;
  std::int64_t links_left_;
  std::vector<std::string> found_;
};

}  // namespace

bool Location::has(const std::string& path) const {
  const std::string whole = absolute(path);
  for (std::size_t end = whole.find('/', 1); end != std::string::npos; end = whole.find('/', end + 1)) {
    if (!is_hard_link(id(), whole.substr(0, end))) {
      return false;
    }
  }
  return whole == "/" || is_hard_link(id(), whole);
}

std::string Location::absolute(const std::string& path) const {
  if (path.starts_with('/')) {
    return path;
  }
  return path_of_root() ? "/" + path : this->path() + "/" + path;
}

std::vector<std::string> Location::dataset_paths() const {
  DatasetWalk walk(file(), file_bytes());
  walk.collect(id(), path_of_root() ? "" : path(), 0);
  std::sort(walk.found().begin(), walk.found().end());
  return std::move(walk.found());
}

std::vector<std::string> Location::children() const {
  return link_names(id());
}

Location Location::create_group(const std::string& path) {
  const Handle properties(H5Pcreate(H5P_GROUP_CREATE));
  H5Pset_obj_track_times(properties.id(), false);
  const std::string whole = absolute(path);
  const Handle links = link_creation();
  Handle group(H5Gcreate2(id(), whole.c_str(), links.id(), properties.id(), H5P_DEFAULT));
  h5::check(group.id(), file(), whole, "make the group", true);
  return Location(std::move(group), file(), whole);
}

Location Location::open_group(const std::string& path) const {
  const std::string whole = absolute(path);
  if (!has(whole)) {
    fail(ExitCode::bad_data, "{}: the group {} is missing; write the file anew with this program", file(), whole);
  }
  Handle group(H5Gopen2(id(), whole.c_str(), H5P_DEFAULT));
  h5::check(group.id(), file(), whole, "open the group", false);
  return Location(std::move(group), file(), whole);
}

Dataset Location::create_dataset(const std::string& path, Type type, std::span<const std::int64_t> shape) {
  const std::string whole = absolute(path);
  const Handle space = space_of(shape);
  const Handle links = link_creation();
  const Handle properties = dataset_creation(false);
  Handle dataset(
      H5Dcreate2(id(), whole.c_str(), disk_type(type), space.id(), links.id(), properties.id(), H5P_DEFAULT));
  h5::check(dataset.id(), file(), whole, "make the data set", true);
  return Dataset(std::move(dataset), file(), whole);
}

Dataset Location::open_dataset(const std::string& path) const {
  const std::string whole = absolute(path);
  if (!has(path)) {
    fail(ExitCode::bad_data, "{}: the data set {} is missing; write the file anew with this program", file(), whole);
  }
  Handle dataset(H5Dopen2(id(), whole.c_str(), H5P_DEFAULT));
  h5::check(dataset.id(), file(), whole, "open the data set", false);
  return Dataset(std::move(dataset), file(), whole);
}

Dataset Location::open_dataset(const std::string& path, Type type, std::size_t dimensions) const {
  Dataset dataset = open_dataset(path);
  if (dataset.type() != type || dataset.shape().size() != dimensions) {
    fail(ExitCode::bad_data,
         "{}: {} is {} with {} dimensions, expected {} with {}; write the file anew with this program", file(),
         dataset.path(), name(dataset.type()), dataset.shape().size(), name(type), dimensions);
  }
  return dataset;
}

void Location::write_text_data(const std::string& path, hid_t space, const void* texts) {
  const std::string whole = absolute(path);
  const Handle type = text_type();
  const Handle links = link_creation();
  const Handle properties = dataset_creation(true);
  const Handle dataset(H5Dcreate2(id(), whole.c_str(), type.id(), space, links.id(), properties.id(), H5P_DEFAULT));
  h5::check(dataset.id(), file(), whole, "make the text", true);
  h5::check(H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, texts), file(), whole, "write the text",
            true);
}

void Location::write_text(const std::string& path, const std::string& text) {
  const Handle space(H5Screate(H5S_SCALAR));
  const char* pointer = text.c_str();
  write_text_data(path, space.id(), &pointer);
}

void Location::write_strings(const std::string& path, std::span<const std::string> texts) {
  std::vector<const char*> pointers;
  for (const std::string& text : texts) {
    pointers.push_back(text.c_str());
  }
  const std::int64_t shape[1] = {static_cast<std::int64_t>(texts.size())};
  const Handle space = space_of(shape);
  write_text_data(path, space.id(), pointers.data());
}

std::string Location::read_text(const std::string& path) const {
  const std::vector<std::string> texts = open_dataset(path).read_strings();
  if (texts.size() != 1) {
    fail(ExitCode::bad_data, "{}: {} is no single text; write the file anew with this program", file(), path);
  }
  return texts.front();
}

void Location::write_named_digests(const std::string& path, std::size_t name_bytes, std::span<const std::byte> rows) {
  const Handle text(H5Tcopy(H5T_C_S1));
  H5Tset_size(text.id(), name_bytes);
  H5Tset_strpad(text.id(), H5T_STR_NULLPAD);
  H5Tset_cset(text.id(), H5T_CSET_UTF8);
  const Handle row(H5Tcreate(H5T_COMPOUND, name_bytes + sizeof(std::uint64_t)));
  H5Tinsert(row.id(), "name", 0, text.id());
  H5Tinsert(row.id(), "digest", name_bytes, H5T_STD_U64LE);
  const std::int64_t shape[1] = {static_cast<std::int64_t>(rows.size() / (name_bytes + sizeof(std::uint64_t)))};
  const Handle space = space_of(shape);
  const Handle properties = dataset_creation(false);
  const Handle dataset(H5Dcreate2(id(), path.c_str(), row.id(), space.id(), H5P_DEFAULT, properties.id(), H5P_DEFAULT));
  h5::check(dataset.id(), file(), path, "make the table", true);
  h5::check(H5Dwrite(dataset.id(), row.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, rows.data()), file(), path,
            "write the table", true);
}

File File::create(const std::filesystem::path& path) {
  start_library();
  const Handle properties(H5Pcreate(H5P_FILE_CREATE));
  H5Pset_userblock(properties.id(), user_block_bytes);
  H5Pset_obj_track_times(properties.id(), false);
  auto image = std::make_shared<Image>(RawFile(path, RawFile::Mode::create));
  const Handle access = file_access();
  use_image(access.id(), image);
  Handle file(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, properties.id(), access.id()));
  h5::check(file.id(), path.string(), "/", "create as HDF5", true);
  image->resize(user_block_bytes);  // the library, asked for the file's size, subtracts the block from it unchecked
  return File(std::move(file), path, std::move(image));
}

File File::open(const std::filesystem::path& path) {
  start_library();
  if (!std::filesystem::exists(path)) {
    fail(ExitCode::no_input, "{}: no such file; check the path", path.string());
  }
  const Handle access = file_access();
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.id()));
  h5::check(file.id(), path.string(), "/", "open as HDF5", false);
  return File(std::move(file), path);
}

File File::open_for_writing(const std::filesystem::path& path) {
  start_library();
  auto image = std::make_shared<Image>(RawFile(path, RawFile::Mode::write));
  const Handle access = file_access();
  use_image(access.id(), image);
  Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, access.id()));
  h5::check(file.id(), path.string(), "/", "open as HDF5", false);
  return File(std::move(file), path, std::move(image));
}

void File::close() {
  check(H5Fflush(id(), H5F_SCOPE_LOCAL), "write out", true);
  check(H5Fclose(release()), "close", true);
  if (image_) {
    image_->save();
  }
}

}  // namespace hrm::io::h5
