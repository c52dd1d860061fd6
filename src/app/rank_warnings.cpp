#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "app/node_list.hpp"
#include "app/rank_map.hpp"
#include "app/threads.hpp"

namespace hrm::app {
namespace {

/// " (and 3 more)" where several are affected.
std::string and_more(std::size_t count) {
  return count > 1 ? fmt::format(" (and {} more)", count - 1) : "";
}

/// The text of the first node for which `describe` gives one, with the number of others and the repair.
template <class Describe>
void add_node_warning(std::vector<std::string>& out, const std::vector<Node>& nodes, Describe&& describe,
                      const char* repair) {
  std::size_t count = 0;
  std::string first;
  for (const Node& node : nodes) {
    if (std::string text = describe(node); !text.empty() && count++ == 0) {
      first = std::move(text);
    }
  }
  if (count > 0) {
    out.push_back(fmt::format("{}{}; {}", first, and_more(count), repair));
  }
}

std::string oversubscribed(const Node& node) {
  const int cores = cores_of_all(node.masks);
  if (node.threads <= cores) {
    return "";
  }
  return fmt::format("{} threads of {} rank(s) share {} cores of node {}", node.threads, node.ranks.size(), cores,
                     node.host);
}

/// Where the batch system gave cores to each rank, every rank must have as many; else the ranks of a node together
/// should have all of it, unless they were given fewer threads than the cores they are bound to.
std::string bound_to_few(const Node& node) {
  for (std::size_t i = 0; i < node.places.size(); ++i) {
    const RankPlace& place = node.places[i];
    const auto bound = std::count(place.cores.begin(), place.cores.end(), '1');
    if (bound < place.task_cores) {
      return fmt::format("rank {} on node {} is bound to {} of the {} cores that it was given", node.ranks[i],
                         node.host, bound, place.task_cores);
    }
  }
  const int cores = cores_of_all(node.masks);
  const RankPlace& first = node.places[0];
  if (first.task_cores > 0 || cores >= first.node_cores || node.threads < cores) {
    return "";
  }
  return fmt::format("the {} rank(s) of node {} are bound to {} of its {} cores", node.ranks.size(), node.host, cores,
                     first.node_cores);
}

std::string short_of_devices(const Node& node) {
  const int devices = device_count(node);
  if (!node.places[0].devices || devices >= static_cast<int>(node.ranks.size())) {
    return "";
  }
  return fmt::format("the {} rank(s) of node {} see {} device(s)", node.ranks.size(), node.host, devices);
}

void add_group_warning(std::vector<std::string>& out, const std::vector<RankPlace>& ranks, int tensor) {
  std::size_t crossing = 0;
  std::string first;
  const auto size = static_cast<std::size_t>(std::max(1, tensor));
  for (std::size_t begin = 0; begin + size <= ranks.size(); begin += size) {
    std::set<std::string> hosts;
    for (std::size_t rank = begin; rank < begin + size; ++rank) {
      hosts.insert(ranks[rank].host);
    }
    if (hosts.size() > 1 && crossing++ == 0) {
      first = fmt::format("the tensor group of ranks {}-{} lies on {} nodes", begin, begin + size - 1, hosts.size());
    }
  }
  if (crossing > 0) {
    out.push_back(
        fmt::format("{}{}; let parallel.tensor divide the ranks of a node, and fill nodes in order "
                    "(srun --distribution=block, mpirun --map-by core)",
                    first, and_more(crossing)));
  }
}

}  // namespace

std::vector<std::string> warnings(const std::vector<RankPlace>& ranks, int tensor) {
  const std::vector<Node> nodes = nodes_of(ranks);
  std::vector<std::string> out;
  add_node_warning(out, nodes, oversubscribed, "set device.threads or use fewer ranks");
  add_node_warning(out, nodes, bound_to_few, "bind them to more (mpirun --bind-to none, srun --cpus-per-task)");
  add_group_warning(out, ranks, tensor);
  add_node_warning(out, nodes, short_of_devices,
                   "start as many ranks as a node has devices (srun --ntasks-per-node, --gpus-per-node)");
  return out;
}

}  // namespace hrm::app
