#include "data/sampling.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <sstream>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

namespace hrm::data {
namespace {

constexpr std::string_view blanks = " \t\r";

/// Cuts the last word off `text`.
std::string_view take_last_word(std::string_view& text) {
  const std::size_t before = text.find_last_of(blanks);
  const std::string_view word = before == std::string_view::npos ? text : text.substr(before + 1);
  text = before == std::string_view::npos ? std::string_view{} : trimmed(text.substr(0, before));
  return word;
}

struct Place {
  std::string_view file;
  std::int64_t line;
};

std::int64_t positive(std::string_view word, const char* what, const Place& place) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size() || value < 1) {
    fail(ExitCode::bad_config, "{}:{}: {} is \"{}\"; write a positive whole number{}", place.file, place.line, what,
         word, std::string_view(what) == "CAP" ? " or -" : "");
  }
  return value;
}

SamplingRule parse_rule(std::string_view text, const Place& place) {
  std::string_view rest = text;
  const std::string_view repeat = take_last_word(rest);
  const std::string_view cap = take_last_word(rest);
  if (rest.empty()) {
    fail(ExitCode::bad_config, "{}:{}: \"{}\" is not a rule; write PREFIX CAP|- REPEAT", place.file, place.line, text);
  }
  SamplingRule rule;
  rule.prefix = rest;
  rule.cap = cap == "-" ? SamplingRule::no_cap : positive(cap, "CAP", place);
  rule.repeat = positive(repeat, "REPEAT", place);
  rule.line = place.line;
  return rule;
}

}  // namespace

std::vector<SamplingRule> parse_sampling(std::string_view text, std::string_view file) {
  std::vector<SamplingRule> rules;
  Place place{file, 0};
  while (!text.empty()) {
    ++place.line;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, std::min(text.find('#'), end)));
    if (!line.empty()) {
      rules.push_back(parse_rule(line, place));
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return rules;
}

std::string read_sampling(comm::Communicator& group, const std::string& path) {
  std::string text;
  comm::together(group, [&] {
    if (path.empty() || group.rank() != 0) {
      return;
    }
    std::ifstream file(path, std::ios::binary);
    std::ostringstream content;
    content << file.rdbuf();
    if (!file) {
      fail(ExitCode::no_input, "{}: cannot be read; set data.sampling to a file of lines PREFIX CAP|- REPEAT", path);
    }
    text = content.str();
  });
  return comm::broadcast_text(group, text);
}

namespace {

/// One line for all rules that draw from no stratum.
void warn_of_unused(std::span<const SamplingRule> rules, const std::vector<bool>& used) {
  std::string unused;
  for (std::size_t r = 0; r < rules.size(); ++r) {
    if (!used[r]) {
      unused += fmt::format("{}{} (line {})", unused.empty() ? "" : ", ", rules[r].prefix, rules[r].line);
    }
  }
  if (!unused.empty()) {
    log::warn("data.sampling: the corpus has no stratum for {}", unused);
  }
}

}  // namespace

std::vector<StratumShare> sampling_shares(std::span<const SamplingRule> rules, std::span<const std::string> strata,
                                          std::span<const std::int64_t> rows) {
  std::vector<StratumShare> shares;
  std::vector<bool> used(rules.size());
  for (std::size_t s = 0; s < strata.size(); ++s) {
    StratumShare share{rows[s], rows[s], 1};
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const SamplingRule& candidate) {
      return strata[s].starts_with(candidate.prefix);
    });
    if (rule != rules.end()) {
      used[static_cast<std::size_t>(rule - rules.begin())] = true;
      share.drawn = rule->cap == SamplingRule::no_cap ? rows[s] : std::min(rule->cap, rows[s]);
      share.repeat = rule->repeat;
    }
    shares.push_back(share);
  }
  warn_of_unused(rules, used);
  return shares;
}

}  // namespace hrm::data
