#pragma once
// Guarded mode (Settings::guarded): on a GPU, host code cannot read device memory nor kernels the host's. Here both are
// one, so device memory is closed to everyone while no work of a stream runs, and a kernel's arguments are searched for
// pointers to the host's memory.
#include <cstddef>

namespace hrm::simt {

/// Memory that only DeviceWork opens; touching it else ends the process with a word on standard error.
void* allocate_guarded(std::size_t bytes);
/// False if the memory is not of allocate_guarded. Its addresses are never used again.
bool release_guarded(void* memory, std::size_t bytes);

/// Guarded memory is open while one lives.
class DeviceWork {
 public:
  DeviceWork();
  ~DeviceWork();
  DeviceWork(const DeviceWork&) = delete;
  DeviceWork& operator=(const DeviceWork&) = delete;
};

/// Throws KernelError if a word of the argument is the address of memory that is not guarded.
void check_argument(const void* argument, std::size_t bytes, int index);

}  // namespace hrm::simt
