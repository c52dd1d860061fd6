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

std::string default_text(const auto& value) {
  const std::string text = value_text(value);
  return text.empty() ? "none" : text;
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
    return fmt::format("{} in {} .. {}", type, number_text(info.low), number_text(info.high));
  }
  if (info.words.empty()) {
    return "any text";
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
    text += fmt::format("  {:<28} {} [{}{}{}; default {}]\n", info.key, info.help, allowed_text(info, type_name(value)),
                        info.unit.empty() ? "" : " ", info.unit, default_text(value));
  });
  return text;
}

}  // namespace hrm::config
