#pragma once
// /integrity: one row per data set of a file, its absolute path and its digest (base/digest.hpp), sorted by the path's
// bytes, itself left out.
#include <cstdint>
#include <map>
#include <string>

#include "io/hdf5.hpp"

namespace hrm::io {

using DatasetDigests = std::map<std::string, std::uint64_t>;

inline constexpr const char* integrity_path = "/integrity";

/// Digests of all data sets of `file`, those in `known` taken from there: numbers as elements, compounds as bytes,
/// texts as their UTF-8 bytes each ended by 0. Data sets that are not known are held in memory, one at a time.
DatasetDigests all_digests(const h5::File& file, const DatasetDigests& known = {});

void write_integrity(h5::File& file, const DatasetDigests& digests);
DatasetDigests read_integrity(const h5::File& file);

/// Recomputes every digest from the bytes on the disk; 65 naming the first data set that differs, is missing or is not
/// listed.
void verify_integrity(const h5::File& file);

}  // namespace hrm::io
