#pragma once
// What is in a shard, corpus.h5, checkpoint or metrics file; whether it is whole; how two of them differ.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace hrm::io {

/// Format, size, attributes by object, data sets with type, shape and digest. The file's digest is checked first. Of a
/// file without a right one, what HDF5 can still read of it, asked by a child process, with "damage" saying what is
/// wrong; 65 where that is nothing or HDF5 crashes, 66 if there is no file.
nlohmann::ordered_json describe(const std::filesystem::path& file);

/// Lines for people.
std::string describe_text(const nlohmann::ordered_json& description);

/// Recomputes the whole-file digest and every data set's; 65 naming the first data set that differs where it can be
/// told. Returns the number of data sets checked.
std::int64_t verify_file(const std::filesystem::path& file);

/// One data set that two files do not share bit for bit.
struct Difference {
  std::string path;
  std::string what;        ///< "only in A", "shape", "type", "step attribute", "values"
  double largest = 0;      ///< largest absolute difference of values; NaN where it is none (text, NaN in one file)
  std::int64_t count = 0;  ///< elements that differ
  bool counts = true;      ///< false: for information, the files still are the same state
};

struct Comparison {
  bool same = true;  ///< no difference counts
  std::vector<Difference> differences;
};

/// Byte comparison of all data sets. For checkpoints only /model, /optimizer, /ema (with `step`) and /state/guard
/// count; otherwise all but /integrity. Files of two formats are 65.
Comparison compare_files(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace hrm::io
