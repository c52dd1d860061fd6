#pragma once
// Long work that ranks do side by side and that a request to stop must not wait for.
#include <array>
#include <span>

#include "base/stop_request.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {

/// Calls `round`, which does a piece of this rank's work and says whether more is left (or does nothing when none is),
/// until no rank has more. After each round all ranks hear whether any of them was asked to stop: all throw
/// InputError(stopped) then. Collective.
template <class Round>
void in_rounds(Communicator& group, Round&& round) {
  std::array<double, 2> votes{};
  do {
    const bool more = round();
    votes = {more ? 1.0 : 0.0, stop_requested() ? 1.0 : 0.0};
    group.sum(votes);
    if (votes[1] > 0) {
      fail_stopped();
    }
  } while (votes[0] > 0);
}

}  // namespace hrm::comm
