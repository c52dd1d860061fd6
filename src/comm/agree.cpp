#include <optional>
#include <system_error>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {
namespace {

// What agree() itself threw: its message names a rank already, so an outer agreement passes it on unchanged.
class AgreedInput : public InputError {
  using InputError::InputError;
};
class AgreedInternal : public InternalError {
  using InternalError::InternalError;
};

struct Failure {
  int code = static_cast<int>(ExitCode::internal);
  std::string message;
  bool names_rank = false;
};

Failure describe(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const InputError& error) {
    return {static_cast<int>(error.code()), error.what(), dynamic_cast<const AgreedInput*>(&error) != nullptr};
  } catch (const std::system_error& error) {  // of std::filesystem
    return {static_cast<int>(ExitCode::io_error), error.what(), false};
  } catch (const std::exception& error) {
    return {static_cast<int>(ExitCode::internal), error.what(), dynamic_cast<const AgreedInternal*>(&error) != nullptr};
  } catch (...) {
    return {static_cast<int>(ExitCode::internal), "unknown exception", false};
  }
}

/// Lowest rank with a failure.
std::optional<int> lowest_failing(Communicator& group, bool failed) {
  std::int64_t distance = failed ? group.size() - group.rank() : 0;
  group.max({&distance, 1});
  if (distance == 0) {
    return std::nullopt;
  }
  return static_cast<int>(group.size() - distance);
}

}  // namespace

std::string broadcast_text(Communicator& group, std::string text, int root) {
  auto size = static_cast<std::uint64_t>(text.size());
  group.broadcast(std::as_writable_bytes(std::span(&size, 1)), root);
  text.resize(size);
  group.broadcast(std::as_writable_bytes(std::span(text)), root);
  return text;
}

void agree(Communicator& group, std::exception_ptr failure) {
  const std::optional<int> failing = lowest_failing(group, failure != nullptr);
  if (!failing) {
    return;
  }
  Failure own;
  if (failure != nullptr) {
    own = describe(failure);
  }
  if (!own.names_rank && group.size() > 1) {
    own.message = fmt::format("rank {}: {}", group.rank(), own.message);
  }
  group.broadcast(std::as_writable_bytes(std::span(&own.code, 1)), *failing);
  const std::string message = broadcast_text(group, own.message, *failing);
  if (own.code == static_cast<int>(ExitCode::internal)) {
    throw AgreedInternal(message);
  }
  throw AgreedInput(static_cast<ExitCode>(own.code), message);
}

}  // namespace hrm::comm
