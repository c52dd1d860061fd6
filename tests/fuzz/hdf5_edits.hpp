#pragma once
// Changes a good HDF5 file as the fuzzer's bytes say, through the library's own calls: what comes out is a file that
// the library considers whole, so that a finding is ours. Attributes and data sets get other values, types and shapes
// (huge and empty ones, data that are not allocated, filtered, external or virtual), and links lead elsewhere or in
// circles.
#include <fuzzer/FuzzedDataProvider.h>
#include <hdf5.h>

#include <filesystem>

namespace hrm::fuzz {

/// Applies up to 12 changes to the file; what the library refuses is left out.
void edit(const std::filesystem::path& file, FuzzedDataProvider& bytes);

}  // namespace hrm::fuzz
