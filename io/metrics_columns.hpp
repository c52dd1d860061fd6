#pragma once
// From JSON rows to columns of one type each.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "io/hdf5.hpp"

namespace hrm::io {

/// How a column is stored: reals with NaN and integers with 0 for what was not measured, digests as uint64 with 0, text
/// with "".
enum class ColumnKind { real, integer, digest, text };

struct ColumnSpec {
  const char* name;
  ColumnKind kind;
};

/// `name`, which may be any text (that of a stratum, say), as HDF5 takes it for the name of one object: without slashes
/// and zero bytes, neither empty nor a dot.
std::string object_name(std::string name);

/// Writes `rows` as GROUP/object_name(NAME), with a _ behind it for each such name that is there already.
void write_column(h5::File& file, const std::string& group, const std::string& name, ColumnKind kind,
                  const std::vector<const nlohmann::json*>& rows);

}  // namespace hrm::io
