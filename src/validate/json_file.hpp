#pragma once
// Members of golden JSON files with errors that name file and place.
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"

namespace hrm::validate {

/// content[name] as T; InputError(bad_data) "FILE: PLACE: …" where it is missing or something else.
template <class T>
T member(const std::string& file, const std::string& place, const nlohmann::json& content, const std::string& name) {
  try {
    return content.at(name).get<T>();
  } catch (const nlohmann::json::exception&) {
    fail(ExitCode::bad_data, "{}: {}: \"{}\" is missing or of another type; take an undamaged golden file", file, place,
         name);
  }
}

}  // namespace hrm::validate
