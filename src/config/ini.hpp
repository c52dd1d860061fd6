#pragma once
// The INI dialect of configuration files, with positions:
//   [section]            key = value            section.key = value (before any section)
//   a comment starts with # or ; at the start of a line, or with # after a blank ("path = runs/a#1" keeps its #);
//   "a value" in double quotes may hold blanks and #, with \" and \\ inside.
#include <string>
#include <string_view>
#include <vector>

namespace hrm::config {

struct IniEntry {
  std::string key;  ///< "section.key"
  std::string value;
  int line = 0;  ///< from 1
};

/// Entries in the order of the text. InputError(bad_config) "NAME:LINE: …" for a line that is none of the above and for
/// a key that is given twice.
std::vector<IniEntry> scan_ini(std::string_view text, const std::string& name);

/// `value` as it must stand behind "key = ": in quotes where it would be read back differently without.
std::string quoted_if_needed(const std::string& value);

}  // namespace hrm::config
