#pragma once
// Which kernels ran, by name.
#include <cstdint>
#include <map>
#include <string>

namespace hrm::simt {

/// "norm_forward<float, 2, true, false>" of a kernel linked into this program; its address where symbols are stripped.
std::string kernel_name(const void* kernel);

/// Adds a launch to the table. With HRM_SIMT_LAUNCHES=PREFIX in the environment the process writes PREFIX.PID when it
/// ends: a line "launches name" per kernel.
void count_launch(const void* kernel);
const void* last_launched();
/// Launches by name since the last clear_launches_by_kernel().
std::map<std::string, std::int64_t> launches_by_kernel();
void clear_launches_by_kernel();

}  // namespace hrm::simt
