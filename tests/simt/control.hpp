#pragma once
// What a test sets and reads: order of execution, asynchronous copies, counts of calls.
#include <cstddef>
#include <cstdint>
#include <stdexcept>

namespace hrm::simt {

/// A kernel or a launch did what a GPU would punish: what() names the threads and the source line.
class KernelError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// When a copy_async_16 lands: as late as allowed (a missing wait reads NaN) or at once (a buffer that others still
/// read is overwritten). Both are right on a GPU: run tests in both.
enum class AsyncCopies { late, eager };

/// First values from the environment: HRM_SIMT_SEED (a number), HRM_SIMT_ASYNC (late, eager), HRM_SIMT_DEFERRED and
/// HRM_SIMT_GUARDED (0, 1).
struct Settings {
  std::uint64_t seed = 0;  ///< 0: threads and blocks in order; else a random ready thread runs next, last block first
  AsyncCopies copies = AsyncCopies::late;
  bool deferred = false;  ///< work on a stream runs at the first call that waits for it or asks about it
  bool guarded = false;   ///< what is allocated from now on only work on a stream can touch (simt/guard.hpp)
  std::size_t device_memory = std::size_t{16} << 30;  ///< bytes: cudaMalloc of more fails
};
Settings& settings();

/// Calls so far. A test sets it to {} or takes a difference.
struct Counts {
  std::int64_t launches = 0;
  std::int64_t device_allocations = 0;
  std::int64_t host_allocations = 0;  ///< pinned
  std::int64_t bytes_to_device = 0;   ///< copied from the host
  std::int64_t bytes_to_host = 0;     ///< copied from the device
  std::int64_t bytes_on_device = 0;   ///< copied from device to device
  /// Calls that wait for the device: synchronisations, cudaFree, copies from or to host memory that is not pinned.
  std::int64_t blocking_calls = 0;
  std::int64_t live_device_bytes = 0;     ///< allocated and not freed
  std::int64_t largest_device_bytes = 0;  ///< greatest live_device_bytes
};
Counts& counts();

}  // namespace hrm::simt
