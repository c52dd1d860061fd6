#include "hdf5_edits.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "io/hdf5.hpp"

namespace hrm::fuzz {
namespace {

using io::h5::Handle;

constexpr int most_changes = 12;
constexpr std::size_t most_data = 4096;  // bytes that a change writes

/// Names of all objects, "/" among them.
std::vector<std::string> objects(hid_t file) {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5O_info_t*, void* list) -> herr_t {
    static_cast<std::vector<std::string>*>(list)->emplace_back(std::strcmp(name, ".") == 0 ? "/" : name);
    return 0;
  };
  H5Ovisit(file, H5_INDEX_NAME, H5_ITER_INC, add, &names);
  return names;
}

std::vector<std::string> attributes(hid_t object) {
  std::vector<std::string> names;
  const auto add = [](hid_t, const char* name, const H5A_info_t*, void* list) -> herr_t {
    static_cast<std::vector<std::string>*>(list)->emplace_back(name);
    return 0;
  };
  hsize_t position = 0;
  H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, &position, add, &names);
  return names;
}

Handle text_type(std::size_t size) {
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.id(), size);
  return type;
}

Handle compound_type(FuzzedDataProvider& bytes) {
  Handle type(H5Tcreate(H5T_COMPOUND, 64));
  const Handle name = text_type(bytes.ConsumeBool() ? H5T_VARIABLE : 16);
  H5Tinsert(type.id(), "name", 0, name.id());
  H5Tinsert(type.id(), "digest", 32, bytes.ConsumeBool() ? H5T_STD_U64LE : H5T_STD_I16BE);
  return type;
}

Handle any_type(FuzzedDataProvider& bytes) {
  const hid_t numbers[] = {H5T_STD_U8LE,  H5T_STD_U16LE,  H5T_STD_U32LE,  H5T_STD_I32LE,  H5T_STD_U64LE, H5T_STD_I64LE,
                           H5T_STD_I64BE, H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_IEEE_F64BE, H5T_STD_I8LE,  H5T_STD_B64LE};
  const int kind = bytes.ConsumeIntegralInRange(0, 19);
  if (kind < 12) {
    return Handle(H5Tcopy(numbers[kind]));
  }
  const hsize_t extent[1] = {bytes.ConsumeIntegralInRange<hsize_t>(1, 100)};
  switch (kind) {
    case 12:
      return text_type(H5T_VARIABLE);
    case 13:
      return text_type(bytes.ConsumeIntegralInRange<std::size_t>(1, 100));
    case 14:
      return text_type(bytes.ConsumeIntegralInRange<std::size_t>(1, std::size_t{1} << 31));
    case 15:
      return compound_type(bytes);
    case 16:
      return Handle(H5Tvlen_create(H5T_STD_I64LE));
    case 17:
      return Handle(H5Tarray_create2(H5T_IEEE_F64LE, 1, extent));
    case 18:
      return Handle(H5Tcreate(H5T_OPAQUE, extent[0]));
    default: {
      Handle type(H5Tcopy(bytes.ConsumeBool() ? H5T_IEEE_F32LE : H5T_STD_U32LE));
      H5Tset_precision(type.id(), bytes.ConsumeIntegralInRange<std::size_t>(1, 31));
      return type;
    }
  }
}

hsize_t any_extent(FuzzedDataProvider& bytes) {
  switch (bytes.ConsumeIntegralInRange(0, 3)) {
    case 0:
      return bytes.ConsumeIntegral<hsize_t>();
    case 1:
      return hsize_t{1} << bytes.ConsumeIntegralInRange(0, 63);
    default:
      return bytes.ConsumeIntegralInRange<hsize_t>(0, 40);
  }
}

Handle any_space(FuzzedDataProvider& bytes) {
  const int rank = bytes.ConsumeIntegralInRange(-1, 3);
  if (rank < 1) {
    return Handle(H5Screate(rank < 0 ? H5S_NULL : H5S_SCALAR));
  }
  std::vector<hsize_t> extents;
  for (int i = 0; i < rank; ++i) {
    extents.push_back(any_extent(bytes));
  }
  const std::vector<hsize_t> most(extents.size(), H5S_UNLIMITED);
  return Handle(H5Screate_simple(rank, extents.data(), bytes.ConsumeBool() ? most.data() : nullptr));
}

/// Bytes enough for all elements of `space`, or none where that is too much or needs pointers.
std::vector<std::uint8_t> any_data(FuzzedDataProvider& bytes, hid_t type, hid_t space) {
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  const std::size_t size = H5Tget_size(type);
  const bool pointers = H5Tis_variable_str(type) > 0 || H5Tdetect_class(type, H5T_VLEN) > 0;
  if (count <= 0 || size == 0 || pointers || static_cast<std::size_t>(count) > most_data / size) {
    return {};
  }
  std::vector<std::uint8_t> data = bytes.ConsumeBytes<std::uint8_t>(static_cast<std::size_t>(count) * size);
  data.resize(static_cast<std::size_t>(count) * size);
  return data;
}

void change_attribute(hid_t file, const std::string& object_name, FuzzedDataProvider& bytes) {
  const Handle object(H5Oopen(file, object_name.c_str(), H5P_DEFAULT));
  std::vector<std::string> names = attributes(object.id());
  names.emplace_back("step");
  const std::string& name = names[bytes.ConsumeIntegralInRange<std::size_t>(0, names.size() - 1)];
  H5Adelete(object.id(), name.c_str());
  if (bytes.ConsumeIntegralInRange(0, 7) == 0) {
    return;
  }
  const Handle type = any_type(bytes);
  const Handle space = any_space(bytes);
  if (H5Tget_size(type.id()) > most_data || H5Sget_simple_extent_npoints(space.id()) > 1000) {
    return;  // the library takes the memory at once
  }
  const Handle attribute(H5Acreate2(object.id(), name.c_str(), type.id(), space.id(), H5P_DEFAULT, H5P_DEFAULT));
  const std::vector<std::uint8_t> data = any_data(bytes, type.id(), space.id());
  if (attribute.id() >= 0 && !data.empty()) {
    H5Awrite(attribute.id(), type.id(), data.data());
  }
}

Handle any_storage(FuzzedDataProvider& bytes, hid_t space) {
  Handle properties(H5Pcreate(H5P_DATASET_CREATE));
  const int rank = H5Sget_simple_extent_ndims(space);
  switch (bytes.ConsumeIntegralInRange(0, 5)) {
    case 0:
      H5Pset_layout(properties.id(), H5D_COMPACT);
      break;
    case 1: {
      std::vector<hsize_t> chunk;
      for (int i = 0; i < rank; ++i) {
        chunk.push_back(any_extent(bytes));
      }
      H5Pset_chunk(properties.id(), rank, chunk.data());
      H5Pset_deflate(properties.id(), 6);
      break;
    }
    case 2:
      H5Pset_external(properties.id(), "/dev/zero", 0, H5F_UNLIMITED);
      break;
    default:
      H5Pset_layout(properties.id(), H5D_CONTIGUOUS);
      H5Pset_alloc_time(properties.id(), H5D_ALLOC_TIME_LATE);
  }
  return properties;
}

bool chunk_is_small(hid_t properties) {
  std::vector<hsize_t> chunk(static_cast<std::size_t>(H5Pget_chunk(properties, 0, nullptr)));
  H5Pget_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
  double elements = 1;
  for (const hsize_t extent : chunk) {
    elements *= static_cast<double>(extent);
  }
  return elements <= static_cast<double>(most_data);
}

/// Makes the data set anew with another type, shape or storage.
void replace_dataset(hid_t file, const std::string& name, FuzzedDataProvider& bytes) {
  Handle type = any_type(bytes);
  if (bytes.ConsumeBool()) {
    const Handle before(H5Dopen2(file, name.c_str(), H5P_DEFAULT));
    type = Handle(H5Dget_type(before.id()));
  }
  const Handle space = any_space(bytes);
  const Handle properties = any_storage(bytes, space.id());
  const Handle links(H5Pcreate(H5P_LINK_CREATE));
  H5Pset_create_intermediate_group(links.id(), 1);
  const std::vector<std::uint8_t> data = any_data(bytes, type.id(), space.id());
  H5Ldelete(file, name.c_str(), H5P_DEFAULT);
  const Handle made(H5Dcreate2(file, name.c_str(), type.id(), space.id(), links.id(), properties.id(), H5P_DEFAULT));
  const bool chunked = H5Pget_layout(properties.id()) == H5D_CHUNKED;  // to write, the library takes a whole chunk
  const bool writable = H5Pget_external_count(properties.id()) == 0 && (!chunked || chunk_is_small(properties.id()));
  if (made.id() >= 0 && !data.empty() && writable) {
    H5Dwrite(made.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data());
  }
}

/// Other numbers in a data set that keeps its type and shape.
void change_values(hid_t file, const std::string& name, FuzzedDataProvider& bytes) {
  const Handle dataset(H5Dopen2(file, name.c_str(), H5P_DEFAULT));
  const Handle type(H5Dget_type(dataset.id()));
  const Handle space(H5Dget_space(dataset.id()));
  const std::vector<std::uint8_t> data = any_data(bytes, type.id(), space.id());
  if (!data.empty()) {
    H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT, data.data());
  }
}

void change_link(hid_t file, const std::string& name, const std::string& other, FuzzedDataProvider& bytes) {
  if (bytes.ConsumeBool()) {
    H5Ldelete(file, name.c_str(), H5P_DEFAULT);
  }
  const std::string inside = name + bytes.ConsumeRandomLengthString(3);
  switch (bytes.ConsumeIntegralInRange(0, 4)) {
    case 0:
      H5Lcreate_soft(other.c_str(), file, inside.c_str(), H5P_DEFAULT, H5P_DEFAULT);
      break;
    case 1:
      H5Lcreate_external("other.h5", other.c_str(), file, inside.c_str(), H5P_DEFAULT, H5P_DEFAULT);
      break;
    case 2:
      H5Lcreate_hard(file, other.c_str(), file, (other + "/again").c_str(), H5P_DEFAULT, H5P_DEFAULT);
      H5Lcreate_hard(file, other.c_str(), file, (other + "/and again").c_str(), H5P_DEFAULT, H5P_DEFAULT);
      break;
    case 3:
      H5Lcreate_hard(file, other.c_str(), file, inside.c_str(), H5P_DEFAULT, H5P_DEFAULT);
      break;
    default:
      break;
  }
}

void change(hid_t file, FuzzedDataProvider& bytes) {
  const std::vector<std::string> names = objects(file);
  const auto pick = [&]() -> const std::string& {
    return names[bytes.ConsumeIntegralInRange<std::size_t>(0, names.size() - 1)];
  };
  const std::string& name = pick();
  const Handle object(H5Oopen(file, name.c_str(), H5P_DEFAULT));
  const bool dataset = H5Iget_type(object.id()) == H5I_DATASET;
  switch (bytes.ConsumeIntegralInRange(0, 7)) {
    case 0:
    case 1:
    case 2:
      return change_attribute(file, name, bytes);
    case 3:
      return change_link(file, name, pick(), bytes);
    case 4:
    case 5:
      return dataset ? replace_dataset(file, name, bytes) : change_attribute(file, name, bytes);
    default:
      return dataset ? change_values(file, name, bytes) : change_attribute(file, name, bytes);
  }
}

}  // namespace

void edit(const std::filesystem::path& file, FuzzedDataProvider& bytes) {
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  H5Pset_fclose_degree(access.id(), H5F_CLOSE_STRONG);
  H5Pset_libver_bounds(access.id(), H5F_LIBVER_EARLIEST, H5F_LIBVER_V110);
  const Handle open(H5Fopen(file.c_str(), H5F_ACC_RDWR, access.id()));
  for (int i = 0; i < most_changes && bytes.remaining_bytes() > 0; ++i) {
    change(open.id(), bytes);
  }
  H5Eclear2(H5E_DEFAULT);
}

}  // namespace hrm::fuzz
