#pragma once
// The ranks of a run by the node they are on.
#include <string>
#include <vector>

#include "app/rank_map.hpp"

namespace hrm::app {

struct Node {
  std::string host;
  std::vector<int> ranks;         ///< rising
  std::vector<RankPlace> places;  ///< of those ranks
  std::vector<std::string> masks;
  int threads = 0;  ///< of all of them
};

/// In order of their first ranks.
std::vector<Node> nodes_of(const std::vector<RankPlace>& ranks);

/// Devices that the ranks of `node` see together. Ranks that were bound to one device each may all see it as number 0:
/// then the batch system's number counts.
int device_count(const Node& node);

}  // namespace hrm::app
