#include "io/jsonl_object.hpp"

#include "base/error.hpp"
#include "base/utf8.hpp"

namespace hrm::io {

bool nests_too_deep(std::string_view json) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      i += c == '\\' ? 1 : 0;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > deepest_json) {
        return true;
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

nlohmann::json parse_jsonl_object(std::string_view line, const std::string& place) {
  if (const auto bad = first_invalid_utf8(line)) {
    fail(ExitCode::bad_data, "{}: invalid UTF-8 at byte {} of the line; convert the file to UTF-8", place, *bad + 1);
  }
  if (nests_too_deep(line)) {
    fail(ExitCode::bad_data, "{}: the JSON nests more than {} levels deep; flatten it", place, deepest_json);
  }
  nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
  if (object.is_discarded()) {
    fail(ExitCode::bad_data, "{}: malformed JSON; each line must hold one complete JSON object", place);
  }
  if (!object.is_object()) {
    fail(ExitCode::bad_data, "{}: the line holds no JSON object but {}; write {{\"field\": …}}", place,
         object.type_name());
  }
  return object;
}

std::string required_string(const nlohmann::json& object, const char* field, const std::string& place) {
  std::optional<std::string> text = optional_string(object, field, place);
  if (!text) {
    fail(ExitCode::bad_data, "{}: the field \"{}\" is missing; add it", place, field);
  }
  return *std::move(text);
}

std::optional<std::string> optional_string(const nlohmann::json& object, const char* field, const std::string& place) {
  const auto found = object.find(field);
  if (found == object.end() || found->is_null()) {
    return std::nullopt;
  }
  if (!found->is_string()) {
    fail(ExitCode::bad_data, "{}: the field \"{}\" is not a string but {}; put it in quotes", place, field,
         found->type_name());
  }
  return found->get<std::string>();
}

}  // namespace hrm::io
