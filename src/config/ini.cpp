#include "config/ini.hpp"

#include <map>

#include "base/error.hpp"
#include "base/text.hpp"

namespace hrm::config {
namespace {

constexpr std::string_view blanks = " \t";

bool is_blank(char c) {
  return blanks.find(c) != std::string_view::npos;
}

/// `text` up to a comment: # at its start or after a blank.
std::string_view without_comment(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '#' && (i == 0 || is_blank(text[i - 1]))) {
      return text.substr(0, i);
    }
  }
  return text;
}

/// The text between quotes; `text` starts with one. Only blanks or a comment may follow.
std::string unquoted(std::string_view text, const std::string& where) {
  std::string value;
  std::size_t i = 1;
  for (; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\')) {
      ++i;
    }
    value += text[i];
  }
  if (i >= text.size() || !trimmed(without_comment(text.substr(i + 1))).empty()) {
    fail(ExitCode::bad_config, "{}: a value that starts with \" must end with \"; close the quotes", where);
  }
  return value;
}

std::string section_name(std::string_view line, const std::string& where) {
  const std::string_view text = trimmed(without_comment(line));
  if (text.size() < 3 || text.back() != ']') {
    fail(ExitCode::bad_config, "{}: '{}' is no section; write [name]", where, text);
  }
  return std::string(trimmed(text.substr(1, text.size() - 2)));
}

IniEntry entry(std::string_view line, const std::string& section, int number, const std::string& where) {
  const std::size_t equals = line.find('=');
  const std::string_view key = trimmed(line.substr(0, equals));
  if (equals == std::string_view::npos || key.empty() || key.find_first_of(" \t#") != std::string_view::npos) {
    fail(ExitCode::bad_config, "{}: '{}' is neither [section], key = value nor a comment", where, line);
  }
  const std::string_view text = trimmed(line.substr(equals + 1));
  std::string value = text.starts_with('"') ? unquoted(text, where) : std::string(trimmed(without_comment(text)));
  return {section.empty() ? std::string(key) : section + "." + std::string(key), std::move(value), number};
}

}  // namespace

std::vector<IniEntry> scan_ini(std::string_view text, const std::string& name) {
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  if (text.starts_with(byte_order_mark)) {
    text.remove_prefix(byte_order_mark.size());
  }
  std::vector<IniEntry> entries;
  std::map<std::string, int> seen;
  std::string section;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    line = trimmed(line);
    if (line.empty() || line[0] == '#' || line[0] == ';') {
      continue;
    }
    const std::string where = fmt::format("{}:{}", name, number);
    if (line[0] == '[') {
      section = section_name(line, where);
      continue;
    }
    entries.push_back(entry(line, section, number, where));
    const auto [before, fresh] = seen.emplace(entries.back().key, number);
    if (!fresh) {
      fail(ExitCode::bad_config, "{}: {} was given in line {} already; keep one of the two", where, before->first,
           before->second);
    }
  }
  return entries;
}

std::string quoted_if_needed(const std::string& value) {
  const bool plain = trimmed(value) == value && !value.starts_with('"') && without_comment(value) == value;
  if (plain) {
    return value;
  }
  std::string text = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') {
      text += '\\';
    }
    text += c;
  }
  return text + '"';
}

}  // namespace hrm::config
