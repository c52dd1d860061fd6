#include "app/node_list.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "app/rank_text.hpp"

namespace hrm::app {

std::vector<Node> nodes_of(const std::vector<RankPlace>& ranks) {
  std::vector<Node> nodes;
  std::map<std::string, std::size_t> index;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const RankPlace& place = ranks[rank];
    const auto [found, is_new] = index.try_emplace(place.host, nodes.size());
    if (is_new) {
      nodes.push_back({place.host, {}, {}, {}, 0});
    }
    Node& node = nodes[found->second];
    node.ranks.push_back(static_cast<int>(rank));
    node.places.push_back(place);
    node.masks.push_back(place.cores);
    node.threads += place.threads;
  }
  return nodes;
}

int device_count(const Node& node) {
  std::set<std::string> visible;
  bool one_each = true;
  for (const RankPlace& place : node.places) {
    std::set<std::string> names = split_names(place.devices.value_or(""));
    one_each = one_each && names.size() == 1;
    visible.merge(names);
  }
  const auto count = static_cast<int>(visible.size());
  return one_each ? std::max(count, node.places[0].node_devices) : count;
}

}  // namespace hrm::app
