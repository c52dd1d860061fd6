#pragma once
#include <span>
#include <string>
#include <string_view>

namespace hrm::config {

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment).
int edit_distance(std::string_view a, std::string_view b);

/// The candidate with the smallest edit distance to `word`, the first of several; `candidates` is not empty.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace hrm::config
