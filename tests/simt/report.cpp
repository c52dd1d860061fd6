// What is said of launches and kernels that a GPU would not bear.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "simt/multiprocessor.hpp"

namespace hrm::simt {

namespace {

Settings from_environment() {
  Settings result;
  if (const char* seed = std::getenv("HRM_SIMT_SEED")) {
    result.seed = std::strtoull(seed, nullptr, 10);
  }
  if (const char* copies = std::getenv("HRM_SIMT_ASYNC")) {
    const std::string_view mode = copies;
    if (mode != "late" && mode != "eager") {
      throw std::invalid_argument("HRM_SIMT_ASYNC is late or eager");
    }
    result.copies = mode == "eager" ? AsyncCopies::eager : AsyncCopies::late;
  }
  const auto is_on = [](const char* name) {
    const char* value = std::getenv(name);
    return value != nullptr && std::string_view(value) == "1";
  };
  result.deferred = is_on("HRM_SIMT_DEFERRED");
  result.guarded = is_on("HRM_SIMT_GUARDED");
  return result;
}

}  // namespace

Settings& settings() {
  static Settings value = from_environment();
  return value;
}

Counts& counts() {
  static Counts value;
  return value;
}

void kernel_error(const std::string& what) {
  throw KernelError(what);
}

bool Call::same(const Call& other) const {
  return mask == other.mask && where.line == other.where.line &&
         (name == other.name || std::strcmp(name, other.name) == 0) &&
         (where.file == other.where.file || std::strcmp(where.file, other.where.file) == 0);
}

std::string Call::text() const {
  std::string result = fmt::format("{} at {}:{}", name, where.file, where.line);
  return mask == 0 ? result : fmt::format("{} (mask {:#x})", result, mask);
}

void Multiprocessor::check(const Launch& launch) {
  if (multiprocessor_now != nullptr) {
    kernel_error("launched by a kernel");
  }
  const auto [x, y, z] = launch.block;
  const std::uint64_t threads = std::uint64_t{x} * y * z;
  if (threads == 0 || threads > max_threads || x > 1024 || y > 1024 || z > 64) {
    kernel_error(
        fmt::format("a block of {} x {} x {} threads: a GPU takes 1 to 1024, at most 1024 x 1024 x 64", x, y, z));
  }
  if (launch.grid.x > 0x7fffffffU || launch.grid.y > 65535 || launch.grid.z > 65535) {
    kernel_error(fmt::format("a grid of {} x {} x {} blocks: a GPU takes at most 2147483647 x 65535 x 65535",
                             launch.grid.x, launch.grid.y, launch.grid.z));
  }
  if (launch.shared_bytes > max_shared) {
    kernel_error(
        fmt::format("{} bytes of dynamic shared memory: a block may have {}", launch.shared_bytes, max_shared));
  }
}

std::string Multiprocessor::state_of(unsigned thread) const {
  const Thread& it = *threads_[thread];
  if ((warps_[it.warp()].alive >> it.lane() & 1) == 0) {
    return "ended";
  }
  return it.waits.name == nullptr ? "ready" : "wait at " + it.waits.text();
}

/// "threads 0-63 wait at …; threads 64-127 ended".
std::string Multiprocessor::report() const {
  std::string result;
  for (unsigned first = 0; first < count_;) {
    const std::string state = state_of(first);
    unsigned end = first + 1;
    while (end < count_ && state_of(end) == state) {
      ++end;
    }
    result += fmt::format("{}threads {}-{} {}", first == 0 ? "" : "; ", first, end - 1, state);
    first = end;
  }
  return result;
}

}  // namespace hrm::simt
