#pragma once
// Lists that a device gets together.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer.hpp"

namespace hrm::model {

/// Lists put one after the other into host memory and sent in one copy, which nobody waits for: it stands on the stream
/// before the kernels that read it, and the next turn but one is the first to use its host memory again.
class SentLists {
 public:
  /// Bytes that a list of `count` takes at most.
  template <class T>
  static constexpr std::int64_t bytes(std::int64_t count) {
    // NOLINTNEXTLINE(bugprone-sizeof-expression): T may be a pointer
    return count * static_cast<std::int64_t>(sizeof(T)) + alignment;
  }

  SentLists() = default;
  /// For lists of `most_bytes` in all; they are copied on device.compute().
  SentLists(std::int64_t most_bytes, MemoryPart part, Device& device);

  /// Starts a turn. Lists of the one before stay until send().
  void begin();
  /// A list to be filled `here`, in host memory, before send(); the kernels find it `there`.
  template <class T>
  struct Place {
    std::span<T> here;
    std::span<const T> there;
  };
  template <class T>
  Place<T> place(std::size_t count) {
    const std::size_t offset = take(count * sizeof(T));  // NOLINT(bugprone-sizeof-expression)
    return {{reinterpret_cast<T*>(staging_[turn_].data() + offset), count},
            {reinterpret_cast<const T*>(memory_.data() + offset), count}};
  }
  /// The same, filled with `list`.
  template <class T>
  std::span<const T> add(std::span<const T> list) {
    const Place<T> placed = place<T>(list.size());
    std::copy(list.begin(), list.end(), placed.here.begin());
    return placed.there;
  }
  void send();

 private:
  static constexpr std::int64_t alignment = 16;
  std::size_t take(std::size_t bytes);

  Device* device_ = nullptr;
  Buffer<std::byte> memory_;                  // on the device
  std::array<Buffer<std::byte>, 2> staging_;  // host copies of it, used in turn
  std::array<Event, 2> sent_{};
  std::size_t turn_ = 0;
  std::int64_t used_ = 0;
};

}  // namespace hrm::model
