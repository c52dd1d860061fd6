#pragma once
// The attributes that head every file of this program: format, format_version, created_by.
#include <string>

#include "io/hdf5.hpp"

namespace hrm::io {

inline constexpr std::int64_t format_version = 1;
inline constexpr const char* shard_format = "hrm-corpus-shard";
inline constexpr const char* corpus_format = "hrm-corpus";
inline constexpr const char* checkpoint_format = "hrm-checkpoint";
inline constexpr const char* metrics_format = "hrm-metrics";

void write_format(h5::File& file, const std::string& format);

/// 65 unless the file has this format in a version that this program knows.
void check_format(const h5::File& file, const std::string& format);

}  // namespace hrm::io
