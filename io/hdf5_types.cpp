#include <array>
#include <utility>

#include "io/hdf5_check.hpp"

namespace hrm::io::h5 {
namespace {

struct Row {
  Type type;
  const char* name;
  std::size_t size;
  bool is_float;
  bool is_signed;
};

constexpr std::array<Row, 8> numbers = {{{Type::uint8, "uint8", 1, false, false},
                                         {Type::uint16, "uint16", 2, false, false},
                                         {Type::uint32, "uint32", 4, false, false},
                                         {Type::int32, "int32", 4, false, true},
                                         {Type::uint64, "uint64", 8, false, false},
                                         {Type::int64, "int64", 8, false, true},
                                         {Type::float32, "float32", 4, true, true},
                                         {Type::float64, "float64", 8, true, true}}};

const Row* find(Type type) {
  for (const Row& row : numbers) {
    if (row.type == type) {
      return &row;
    }
  }
  return nullptr;
}

herr_t keep_innermost(unsigned, const H5E_error2_t* entry, void* text) {
  auto& words = *static_cast<std::string*>(text);
  if (words.empty() && entry->desc != nullptr) {
    words = entry->desc;
  }
  return 0;
}

/// Exactly the types that disk_type() names: what is read as plain bytes must be what HDF5 would read.
Type classify_number(hid_t type) {
  for (const Row& row : numbers) {
    if (H5Tequal(type, disk_type(row.type)) > 0) {
      return row.type;
    }
  }
  return Type::other;
}

/// Numbers and fixed-length strings only: the bytes of a row hold no pointers into the library's memory.
bool is_plain_compound(hid_t type) {
  const int members = H5Tget_nmembers(type);
  for (int i = 0; i < members; ++i) {
    const Handle member(H5Tget_member_type(type, static_cast<unsigned>(i)));
    const H5T_class_t member_class = H5Tget_class(member.id());
    const bool text = member_class == H5T_STRING && H5Tis_variable_str(member.id()) == 0;
    if (member_class != H5T_INTEGER && member_class != H5T_FLOAT && !text) {
      return false;
    }
  }
  return members > 0;
}

}  // namespace

void start_library() {
  static const bool started = [] { return H5open() >= 0 && H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0; }();
  ensure(started, "the HDF5 library does not start");
}

std::string library_words() {
  std::string words;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, &words);
  H5Eclear2(H5E_DEFAULT);
  return words.empty() ? "the HDF5 library gives no reason" : words;
}

std::string library_version() {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

std::size_t element_size(Type type) {
  const Row* row = find(type);
  return row == nullptr ? 0 : row->size;
}

const char* name(Type type) {
  if (const Row* row = find(type)) {
    return row->name;
  }
  return type == Type::string ? "string" : type == Type::compound ? "compound" : "other";
}

bool widens(Type from, Type to) {
  const Row* a = find(from);
  const Row* b = find(to);
  if (from == to) {
    return true;
  }
  if (a == nullptr || b == nullptr || a->is_float != b->is_float || a->size >= b->size) {
    return false;
  }
  return b->is_signed || !a->is_signed;
}

hid_t disk_type(Type type) {
  switch (type) {
    case Type::uint8:
      return H5T_STD_U8LE;
    case Type::uint16:
      return H5T_STD_U16LE;
    case Type::uint32:
      return H5T_STD_U32LE;
    case Type::int32:
      return H5T_STD_I32LE;
    case Type::uint64:
      return H5T_STD_U64LE;
    case Type::int64:
      return H5T_STD_I64LE;
    case Type::float32:
      return H5T_IEEE_F32LE;
    case Type::float64:
      return H5T_IEEE_F64LE;
    default:
      throw InternalError("HDF5: no number type");
  }
}

hid_t memory_type(Type type) {
  switch (type) {
    case Type::uint8:
      return H5T_NATIVE_UINT8;
    case Type::uint16:
      return H5T_NATIVE_UINT16;
    case Type::uint32:
      return H5T_NATIVE_UINT32;
    case Type::int32:
      return H5T_NATIVE_INT32;
    case Type::uint64:
      return H5T_NATIVE_UINT64;
    case Type::int64:
      return H5T_NATIVE_INT64;
    case Type::float32:
      return H5T_NATIVE_FLOAT;
    case Type::float64:
      return H5T_NATIVE_DOUBLE;
    default:
      throw InternalError("HDF5: no number type");
  }
}

Type classify(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
    case H5T_FLOAT:
      return classify_number(type);
    case H5T_STRING:
      return Type::string;
    case H5T_COMPOUND:
      return is_plain_compound(type) ? Type::compound : Type::other;
    default:
      return Type::other;
  }
}

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type.id(), H5T_VARIABLE);
  H5Tset_cset(type.id(), H5T_CSET_UTF8);
  return type;
}

}  // namespace hrm::io::h5
