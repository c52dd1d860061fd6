#pragma once
#include <string>

namespace hrm {

/// "0.1.0", "a1b2c3d4e5f6" (with "-dirty" for uncommitted changes), "Release".
std::string program_version();
std::string git_revision();
std::string build_type();

/// "hrm 0.1.0 (a1b2c3d4e5f6)": what files carry as `created_by`.
std::string created_by();

}  // namespace hrm
