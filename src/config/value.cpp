#include "config/value.hpp"

#include <array>
#include <charconv>
#include <cmath>

#include "base/error.hpp"
#include "config/nearest.hpp"

namespace hrm::config {
namespace {

[[noreturn]] void refuse(const FieldInfo& info, std::string_view text, std::string_view what, std::string_view type,
                         const std::string& where) {
  fail(ExitCode::bad_config, "{}: {} = {}: {}; allowed: {}", where, info.key, text, what, allowed_text(info, type));
}

template <class T>
void set_number(T& value, const FieldInfo& info, std::string_view text, const char* type, const std::string& where) {
  T parsed{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), parsed);
  if (error == std::errc::result_out_of_range) {
    refuse(info, text, "out of range", type, where);
  }
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(static_cast<double>(parsed))) {
    refuse(info, text, fmt::format("not {}", type), type, where);
  }
  if (static_cast<double>(parsed) < info.low || static_cast<double>(parsed) > info.high) {
    refuse(info, text, "out of range", type, where);
  }
  value = parsed;
}

bool is_word_of(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const std::size_t bar = words.find('|');
    if (words.substr(0, bar) == word) {
      return true;
    }
    words.remove_prefix(bar == std::string_view::npos ? words.size() : bar + 1);
  }
  return false;
}

}  // namespace

void set_value(std::string& value, const FieldInfo& info, std::string_view text, const std::string& where) {
  if (!info.words.empty() && !is_word_of(info.words, text)) {
    refuse(info, text, "unknown word", "text", where);
  }
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t') {
      refuse(info, "…", "holds a control character", "text", where);
    }
  }
  value = text;
}

void set_value(std::int64_t& value, const FieldInfo& info, std::string_view text, const std::string& where) {
  set_number(value, info, text, "a whole number", where);
}

void set_value(double& value, const FieldInfo& info, std::string_view text, const std::string& where) {
  set_number(value, info, text, "a number", where);
}

void set_value(bool& value, const FieldInfo& info, std::string_view text, const std::string& where) {
  if (is_word_of("true|yes|on|1", text)) {
    value = true;
  } else if (is_word_of("false|no|off|0", text)) {
    value = false;
  } else {
    refuse(info, text, "not a truth value", "true or false", where);
  }
}

std::string value_text(const std::string& value) {
  return value;
}
std::string value_text(std::int64_t value) {
  return std::to_string(value);
}
std::string value_text(bool value) {
  return value ? "true" : "false";
}

std::string value_text(double value) {
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  ensure(error == std::errc(), "a real number has at most 24 characters");
  return std::string(text.data(), end);
}

void set_field(RunConfig& config, const std::string& key, std::string_view text, const std::string& where) {
  bool found = false;
  for_each_field(config, [&](const FieldInfo& info, auto& value) {
    if (info.key == key) {
      set_value(value, info, text, where);
      found = true;
    }
  });
  if (!found) {
    fail(ExitCode::bad_config, "{}: unknown key '{}'; the nearest known key is {}", where, key,
         nearest(key, known_keys()));
  }
}

}  // namespace hrm::config
