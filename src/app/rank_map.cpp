#include "app/rank_map.hpp"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <span>

#include "app/node_list.hpp"
#include "app/rank_text.hpp"
#include "app/threads.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "io/disk.hpp"

namespace hrm::app {
namespace {

/// Cores, threads and devices of a node, without its name and rank numbers.
std::string describe(const Node& node) {
  const RankPlace& first = node.places[0];
  const auto bound = std::count(first.cores.begin(), first.cores.end(), '1');
  const bool shared = std::count(node.masks.begin(), node.masks.end(), first.cores) == std::ssize(node.masks);
  const bool even = std::all_of(node.places.begin(), node.places.end(),
                                [&](const RankPlace& place) { return place.threads == first.threads; });
  std::string text = fmt::format(
      "cores {}{}, {}", core_ranges(node.masks), shared ? "" : fmt::format(" ({} bound to each)", bound),
      even ? fmt::format("{} thread(s) each", first.threads) : fmt::format("{} threads in all", node.threads));
  if (first.devices) {
    text += fmt::format(", {} device(s)", device_count(node));
  }
  return text;
}

/// Ranks that follow each other, so that the numbers of the first and the last tell all.
bool contiguous(const Node& node) {
  return node.ranks.back() - node.ranks.front() + 1 == static_cast<int>(node.ranks.size());
}

bool share_a_line(const Node& a, const Node& b) {
  return contiguous(a) && contiguous(b) && a.ranks.size() == b.ranks.size() && describe(a) == describe(b);
}

/// Of nodes that share a line.
std::string line_of(std::span<const Node> nodes) {
  const Node& first = nodes.front();
  if (nodes.size() == 1) {
    return fmt::format("node {}: ranks {}, {}", first.host, number_ranges(first.ranks), describe(first));
  }
  return fmt::format("{} nodes {} .. {}: ranks {}-{}, {} a node, {}", nodes.size(), first.host, nodes.back().host,
                     first.ranks.front(), nodes.back().ranks.back(), first.ranks.size(), describe(first));
}

}  // namespace

RankPlace own_place(DeviceType device) {
  RankPlace place{io::host_name(),
                  own_cores(),
                  omp_get_max_threads(),
                  allocated_cores(),
                  std::atoi(environment("SLURM_CPUS_PER_TASK").c_str()),
                  std::nullopt,
                  0};
  if (device == DeviceType::cuda) {
    place.node_devices = std::atoi(environment("SLURM_GPUS_ON_NODE").c_str());
    const bool named = std::getenv("CUDA_VISIBLE_DEVICES") != nullptr;
    place.devices = named ? environment("CUDA_VISIBLE_DEVICES") : first_numbers(place.node_devices);
  }
  return place;
}

std::vector<std::string> map_lines(const std::vector<RankPlace>& ranks) {
  const std::vector<Node> nodes = nodes_of(ranks);
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < nodes.size();) {
    std::size_t end = begin + 1;
    while (end < nodes.size() && share_a_line(nodes[begin], nodes[end])) {
      ++end;
    }
    lines.push_back(line_of(std::span(nodes).subspan(begin, end - begin)));
    begin = end;
  }
  return lines;
}

void announce_ranks(comm::Communicator& world, int tensor, DeviceType device) {
  std::vector<RankPlace> ranks;
  for (const std::string& text : world.gather(to_text(own_place(device)))) {
    ranks.push_back(place_from_text(text));
  }
  for (const std::string& line : map_lines(ranks)) {
    log::info("{}", line);
  }
  for (const std::string& text : warnings(ranks, tensor)) {
    log::warn("{}", text);
  }
}

std::string program_text() {
  return fmt::format("{}, {}", created_by(), build_type());
}

void check_same_program(comm::Communicator& world, const std::string& text) {
  const std::vector<std::string> texts = world.gather(text);
  const std::vector<std::string> hosts = world.gather(io::host_name());
  const auto other =
      std::find_if(texts.begin(), texts.end(), [&](const std::string& each) { return each != texts[0]; });
  if (other != texts.end()) {
    const auto rank = static_cast<std::size_t>(other - texts.begin());
    fail(ExitCode::bad_config, "rank {} on {} runs {}, rank 0 on {} runs {}; start the same build on every node", rank,
         hosts[rank], *other, hosts[0], texts[0]);
  }
}

}  // namespace hrm::app
