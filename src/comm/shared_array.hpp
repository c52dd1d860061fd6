#pragma once
// Arrays that the ranks of one node share, so that an index of all samples lies in memory once per node.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "comm/communicator.hpp"

namespace hrm::comm {

/// Bytes that all ranks of `node` (a group made by node_group()) see; plain memory of this process where `node` is one
/// rank. Construction, publish() and destruction are collective. Zeroed. No room for it is InputError(bad_config).
class SharedMemory {
 public:
  SharedMemory(Communicator& node, std::int64_t bytes);
  ~SharedMemory();
  SharedMemory(SharedMemory&&) noexcept;
  SharedMemory& operator=(SharedMemory&&) noexcept;

  void* data() const;
  /// What the first rank wrote before is seen by all ranks after.
  void publish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Array of T in the memory of a node. The first rank of the node writes, then all publish(), then all read; before the
/// next writing all must be done with reading (publish() once more).
template <class T>
class SharedArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  SharedArray(Communicator& node, std::int64_t count)
      : memory_(node, count * static_cast<std::int64_t>(sizeof(T))), count_(count) {}

  std::int64_t size() const { return count_; }
  std::span<T> writable() { return {static_cast<T*>(memory_.data()), static_cast<std::size_t>(count_)}; }
  std::span<const T> values() const {
    return {static_cast<const T*>(memory_.data()), static_cast<std::size_t>(count_)};
  }
  void publish() { memory_.publish(); }

 private:
  SharedMemory memory_;
  std::int64_t count_;
};

}  // namespace hrm::comm
