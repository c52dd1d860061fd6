#pragma once
// One line of JSONL as an object with checked fields. Messages begin with the line's place, "FILE:LINE".
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace hrm::io {

/// InputError(bad_data) where the line is not UTF-8, not JSON or not an object.
nlohmann::json parse_jsonl_object(std::string_view line, const std::string& place);

/// A string; InputError(bad_data) where the field is missing or of another type.
std::string required_string(const nlohmann::json& object, const char* field, const std::string& place);

/// The same, nothing where the field is missing or null.
std::optional<std::string> optional_string(const nlohmann::json& object, const char* field, const std::string& place);

}  // namespace hrm::io
