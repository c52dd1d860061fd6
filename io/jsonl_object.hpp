#pragma once
// One line of JSONL as an object with checked fields. Messages begin with the line's place, "FILE:LINE".
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace hrm::io {

inline constexpr int deepest_json = 64;
/// Whether arrays and objects nest deeper than `deepest_json`. Parsing such a text is safe; printing, copying or
/// comparing what came of it recurses by its depth and ends with the stack.
bool nests_too_deep(std::string_view json);

/// InputError(bad_data) where the line is not UTF-8, not JSON, not an object or nests too deep.
nlohmann::json parse_jsonl_object(std::string_view line, const std::string& place);

/// A string; InputError(bad_data) where the field is missing or of another type.
std::string required_string(const nlohmann::json& object, const char* field, const std::string& place);

/// The same, nothing where the field is missing or null.
std::optional<std::string> optional_string(const nlohmann::json& object, const char* field, const std::string& place);

}  // namespace hrm::io
