#include "config/fields.hpp"

#include "base/error.hpp"
#include "config/value.hpp"

namespace hrm::config {
namespace {

std::string_view type_name(const std::string&) {
  return "text";
}
std::string_view type_name(std::int64_t) {
  return "a whole number";
}
std::string_view type_name(double) {
  return "a number";
}
std::string_view type_name(bool) {
  return "true or false";
}

std::string number_text(double value) {
  if (value == most) {
    return "2^40";
  }
  return value_text(value);
}

std::string default_text(const FieldInfo& info, const auto& value) {
  if (info.otherwise.starts_with(required)) {
    return std::string(info.otherwise);
  }
  const std::string text = info.otherwise.empty() ? value_text(value) : std::string(info.otherwise);
  return "default " + (text.empty() ? "none" : text);
}

/// A required whole number is above the 0 that stands for "not given".
std::string low_text(const FieldInfo& info, std::string_view type) {
  const bool above = info.otherwise == required && info.low == 0 && type == "a whole number";
  return above ? "1" : number_text(info.low);
}

std::string with_unit(std::string text, const FieldInfo& info) {
  return info.unit.empty() ? text : fmt::format("{} {}", text, info.unit);
}

}  // namespace

std::vector<std::string> known_keys() {
  std::vector<std::string> keys;
  const RunConfig config;
  for_each_field(config, [&](const FieldInfo& info, const auto&) { keys.emplace_back(info.key); });
  return keys;
}

std::string allowed_text(const FieldInfo& info, std::string_view type) {
  if (type == "true or false") {
    return std::string(type);
  }
  if (type != "text") {
    return with_unit(fmt::format("{} in {} .. {}", type, low_text(info, type), number_text(info.high)), info);
  }
  if (info.words.empty()) {
    return info.unit.empty() ? "any text" : std::string(info.unit);
  }
  std::string text = "one of ";
  for (const char c : info.words) {
    text += c == '|' ? std::string(", ") : std::string(1, c);
  }
  return text;
}

std::string describe_fields() {
  std::string text;
  const RunConfig defaults;
  for_each_field(defaults, [&](const FieldInfo& info, const auto& value) {
    text += fmt::format("  {:<28} {} [{}; {}]\n", info.key, info.help, allowed_text(info, type_name(value)),
                        default_text(info, value));
  });
  return text;
}

}  // namespace hrm::config
