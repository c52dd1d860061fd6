#include "comm/activity.hpp"

#include <fmt/core.h>

#include <atomic>
#include <cstdint>

namespace hrm::comm {
namespace {

std::atomic<const char*> last{nullptr};
std::atomic<std::uint64_t> count{0};

}  // namespace

void note_operation(const char* operation) noexcept {
  last.store(operation, std::memory_order_relaxed);
  count.fetch_add(1, std::memory_order_relaxed);
}

std::string last_operation() {
  const char* operation = last.load(std::memory_order_relaxed);
  return operation == nullptr ? "no operation" : fmt::format("{} (operation {})", operation, count.load());
}

}  // namespace hrm::comm
