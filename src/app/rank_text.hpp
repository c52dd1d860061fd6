#pragma once
// Texts that the map of ranks is made of.
#include <set>
#include <string>
#include <vector>

#include "app/rank_map.hpp"

namespace hrm::app {

/// "0-3,8" of rising numbers.
std::string number_ranges(const std::vector<int>& numbers);
/// The same of the cores that at least one of `masks` (equally long, '1' for a core) has.
std::string core_ranges(const std::vector<std::string>& masks);
/// "0,1,2" of the first `count` numbers.
std::string first_numbers(int count);
/// Names between commas, empty ones left out.
std::set<std::string> split_names(const std::string& text);

/// One rank's place as a message to the others, and back.
std::string to_text(const RankPlace& place);
RankPlace place_from_text(const std::string& text);

}  // namespace hrm::app
