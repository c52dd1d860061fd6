#include "infer/scorer.hpp"

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace hrm::infer {
namespace {

constexpr std::array<Metric, 3> all_metrics{Metric::letter, Metric::number, Metric::exact};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::string without_separators(std::string_view text) {
  std::string kept(text);
  std::erase_if(kept, [](char c) { return c == ',' || c == '$'; });
  return kept;
}

/// End of the digits that begin at `at`.
std::size_t digits_end(std::string_view text, std::size_t at) {
  while (at < text.size() && is_digit(text[at])) {
    ++at;
  }
  return at;
}

/// End of the number that begins at `at`: -12, 12.5, .5; `at` itself where none begins.
std::size_t number_end(std::string_view text, std::size_t at) {
  const std::size_t whole = at + (at < text.size() && text[at] == '-' ? 1 : 0);
  const std::size_t point = digits_end(text, whole);
  const bool fraction = point + 1 < text.size() && text[point] == '.' && is_digit(text[point + 1]);
  if (point == whole && !fraction) {
    return at;
  }
  return fraction ? digits_end(text, point + 1) : point;
}

std::string canonical_digits(std::string_view number) {
  const bool negative = number.front() == '-';
  std::string digits(number.substr(negative ? 1 : 0));
  if (digits.find('.') != std::string::npos) {
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.back() == '.') {
      digits.pop_back();
    }
  }
  digits.erase(0, digits.find_first_not_of('0'));
  if (digits.empty() || digits.front() == '.') {
    digits.insert(digits.begin(), '0');
  }
  if (negative && digits != "0") {
    digits.insert(digits.begin(), '-');
  }
  return digits;
}

/// The last number inside a text; a minus sign behind a letter or digit joins words or subtracts.
std::optional<std::string> last_number(std::string_view reply) {
  const std::string text = without_separators(reply);
  std::optional<std::string> last;
  for (std::size_t at = 0; at < text.size();) {
    const bool joins = text[at] == '-' && at > 0 && is_word(text[at - 1]);
    const std::size_t end = joins ? at : number_end(text, at);
    if (end > at) {
      last = canonical_digits(std::string_view(text).substr(at, end - at));
      at = end;
    } else {
      ++at;
    }
  }
  return last;
}

std::string upper_case(std::string text) {
  std::ranges::transform(text, text.begin(),
                         [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
  return text;
}

bool is_letter(const std::string& text, std::size_t choices) {
  return text.size() == 1 && text[0] >= 'A' && static_cast<std::size_t>(text[0] - 'A') < choices;
}

}  // namespace

const char* name(Metric metric) {
  constexpr std::array<const char*, 3> names{"letter", "number", "exact"};
  return names.at(static_cast<std::size_t>(metric));
}

std::optional<Metric> metric_named(std::string_view wanted) {
  for (const Metric metric : all_metrics) {
    if (wanted == name(metric)) {
      return metric;
    }
  }
  return std::nullopt;
}

std::optional<std::string> last_boxed(std::string_view text) {
  constexpr std::string_view opening = "\\boxed{";
  const std::size_t found = text.rfind(opening);
  if (found == std::string_view::npos) {
    return std::nullopt;
  }
  const std::size_t first = found + opening.size();
  int depth = 1;
  for (std::size_t at = first; at < text.size(); ++at) {
    depth += text[at] == '{' ? 1 : text[at] == '}' ? -1 : 0;
    if (depth == 0) {
      return std::string(text.substr(first, at - first));
    }
  }
  return std::nullopt;
}

std::optional<std::string> canonical_number(std::string_view text) {
  const std::string number(trimmed(without_separators(text)));
  const std::size_t end = number_end(number, 0);
  const bool whole = end > 0 && (end == number.size() || (end + 1 == number.size() && number[end] == '.'));
  return whole ? std::optional(canonical_digits(std::string_view(number).substr(0, end))) : std::nullopt;
}

std::optional<std::string> number_of_reply(std::string_view reply) {
  const std::optional<std::string> boxed = last_boxed(reply);
  return boxed ? canonical_number(*boxed) : last_number(reply);
}

Verdict judge(Metric metric, const std::string& reply, const std::string& answer, std::size_t choices) {
  if (metric == Metric::number) {
    const std::optional<std::string> number = number_of_reply(reply);
    return {number.has_value(), number.has_value() && number == canonical_number(answer)};
  }
  const std::string given(trimmed(reply));
  if (metric == Metric::letter) {
    const std::string letter = upper_case(given);
    const bool valid = is_letter(letter, choices);
    return {valid, valid && letter == upper_case(std::string(trimmed(answer)))};
  }
  return {!given.empty(), !given.empty() && given == trimmed(answer)};
}

bool is_answer(Metric metric, const std::string& answer, std::size_t choices) {
  switch (metric) {
    case Metric::letter:
      return is_letter(upper_case(std::string(trimmed(answer))), choices);
    case Metric::number:
      return canonical_number(answer).has_value();
    case Metric::exact:
      return !trimmed(answer).empty();
  }
  return false;
}

}  // namespace hrm::infer
