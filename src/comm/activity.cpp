#include "comm/activity.hpp"

#include <fmt/core.h>

#include <atomic>

namespace hrm::comm {
namespace {

std::atomic<const char*> last{nullptr};
std::atomic<std::uint64_t> count{0};
std::atomic<std::uint64_t> pieces{0};
std::atomic<int> long_calls{0};

}  // namespace

void note_operation(const char* operation) noexcept {
  last.store(operation, std::memory_order_relaxed);
  count.fetch_add(1, std::memory_order_relaxed);
}

void note_progress() noexcept {
  pieces.fetch_add(1, std::memory_order_relaxed);
}

LongCall::LongCall() noexcept {
  note_progress();
  long_calls.fetch_add(1, std::memory_order_relaxed);
}

LongCall::~LongCall() {
  long_calls.fetch_sub(1, std::memory_order_relaxed);
  note_progress();
}

bool in_long_call() noexcept {
  return long_calls.load(std::memory_order_relaxed) > 0;
}

std::uint64_t notes() noexcept {
  return count.load(std::memory_order_relaxed) + pieces.load(std::memory_order_relaxed);
}

std::string last_operation() {
  const char* operation = last.load(std::memory_order_relaxed);
  return operation == nullptr ? "no operation" : fmt::format("{} (operation {})", operation, count.load());
}

}  // namespace hrm::comm
