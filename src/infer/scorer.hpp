#pragma once
// Whether a reply is the answer.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hrm::infer {

/// letter: the reply, trimmed and in capitals, is the letter of a choice. number: the number in the last \boxed{},
/// else the last number of the reply. exact: the reply itself, trimmed.
enum class Metric { letter, number, exact };

/// "letter", "number", "exact"; nothing for other names.
std::optional<Metric> metric_named(std::string_view name);
const char* name(Metric metric);

/// What is between the braces of the last \boxed{…}, inner braces balanced; nothing where there is none.
std::optional<std::string> last_boxed(std::string_view text);

/// One spelling for each decimal number: commas and $ left out, no needless zeros ("$1,050.0" is "1050"); nothing
/// where `text` is no number.
std::optional<std::string> canonical_number(std::string_view text);

/// The reply's number in that spelling; nothing where it has none.
std::optional<std::string> number_of_reply(std::string_view reply);

struct Verdict {
  bool valid = false;  ///< the reply has the form the metric asks for; an empty one never has
  bool correct = false;
};

/// `choices`: their number, for Metric::letter. `answer` has the metric's form.
Verdict judge(Metric metric, const std::string& reply, const std::string& answer, std::size_t choices);

/// Whether `answer` can be compared with replies at all.
bool is_answer(Metric metric, const std::string& answer, std::size_t choices);

}  // namespace hrm::infer
