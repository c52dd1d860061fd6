#pragma once
// The transfers of an exchange that stay on this rank.
#include <span>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {

/// Calls copy(from, to) for every transfer of `rank` to itself, sends and receives paired in order. InternalError where
/// one side is missing or longer than the other.
template <class Copy>
void for_each_own(std::span<const Send> sends, std::span<const Receive> receives, int rank, Copy&& copy) {
  std::size_t next = 0;
  for (const Send& send : sends) {
    if (send.to != rank) {
      continue;
    }
    while (next < receives.size() && receives[next].from != rank) {
      ++next;
    }
    ensure(next < receives.size(), "a transfer of a rank to itself has no receiver");
    ensure(receives[next].data.size() == send.data.size(), "lengths of a transfer differ");
    copy(send.data, receives[next].data);
    ++next;
  }
}

}  // namespace hrm::comm
