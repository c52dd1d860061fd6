#include "app/rank_text.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <sstream>

namespace hrm::app {

std::string number_ranges(const std::vector<int>& numbers) {
  std::string text;
  for (std::size_t begin = 0; begin < numbers.size();) {
    std::size_t end = begin + 1;
    while (end < numbers.size() && numbers[end] == numbers[end - 1] + 1) {
      ++end;
    }
    text += fmt::format("{}{}", text.empty() ? "" : ",", numbers[begin]);
    if (end - begin > 1) {
      text += fmt::format("-{}", numbers[end - 1]);
    }
    begin = end;
  }
  return text;
}

std::string core_ranges(const std::vector<std::string>& masks) {
  std::vector<int> cores;
  for (std::size_t core = 0; core < masks[0].size(); ++core) {
    if (std::any_of(masks.begin(), masks.end(), [core](const std::string& mask) { return mask[core] == '1'; })) {
      cores.push_back(static_cast<int>(core));
    }
  }
  return number_ranges(cores);
}

std::string first_numbers(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ",", i);
  }
  return text;
}

std::set<std::string> split_names(const std::string& text) {
  std::set<std::string> names;
  std::istringstream in(text);
  for (std::string name; std::getline(in, name, ',');) {
    if (!name.empty()) {
      names.insert(name);
    }
  }
  return names;
}

// The device names come last and behind a mark, for they may be empty or absent.
std::string to_text(const RankPlace& place) {
  return fmt::format("{} {} {} {} {} {} {}", place.host, place.cores, place.threads, place.node_cores, place.task_cores,
                     place.node_devices, place.devices ? "=" + *place.devices : "-");
}

RankPlace place_from_text(const std::string& text) {
  RankPlace place;
  std::string devices;
  std::istringstream in(text);
  in >> place.host >> place.cores >> place.threads >> place.node_cores >> place.task_cores >> place.node_devices >>
      devices;
  if (devices.starts_with('=')) {
    place.devices = devices.substr(1);
  }
  return place;
}

}  // namespace hrm::app
