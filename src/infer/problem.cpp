#include "infer/problem.hpp"

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "base/text.hpp"
#include "io/jsonl.hpp"
#include "io/jsonl_object.hpp"

namespace hrm::infer {
namespace {

/// Letters A … Z.
constexpr std::size_t most_choices = 26;

std::vector<std::string> choices_field(const nlohmann::json& object, const std::string& place) {
  std::vector<std::string> choices;
  const auto found = object.find("choices");
  if (found == object.end() || found->is_null()) {
    return choices;
  }
  const bool is_list = found->is_array() && found->size() >= 2 && found->size() <= most_choices;
  for (const nlohmann::json& choice : is_list ? *found : nlohmann::json::array({nullptr})) {
    if (!choice.is_string()) {
      fail(ExitCode::bad_data, "{}: \"choices\" is not a list of 2 to {} strings; correct the line", place,
           most_choices);
    }
    choices.push_back(choice.get<std::string>());
  }
  return choices;
}

/// "gsm8k" of "eval/gsm8k.jsonl.gz".
std::string name_of(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  return name.substr(0, name.find('.'));
}

/// Benchmarks and the numbers of the held-out loss are keys of one report, and groups side by side in metrics.h5.
void check_name(const std::string& benchmark, const std::string& place) {
  constexpr std::array<std::string_view, 5> taken = {"loss", "loss_tokens", "token_accuracy", "loss_by_stratum",
                                                     "heldout"};
  if (std::ranges::find(taken, benchmark) != taken.end() || benchmark.starts_with("heldout.") ||
      benchmark.starts_with("heldout/")) {
    fail(ExitCode::bad_data, "{}: a benchmark cannot be named \"{}\", which reports use for the loss; rename it", place,
         benchmark);
  }
  if (benchmark.empty() || benchmark == "." || benchmark.find('\0') != std::string::npos) {
    fail(ExitCode::bad_data,
         "{}: the benchmark's name is empty, a dot, or holds a zero character, so it cannot be the name of a group in "
         "metrics.h5; rename it",
         place);
  }
}

Problem parse_problem(std::string_view line, const std::string& place, const std::filesystem::path& file) {
  const nlohmann::json object = io::parse_jsonl_object(line, place);
  Problem problem;
  problem.benchmark = io::optional_string(object, "benchmark", place).value_or(name_of(file));
  check_name(problem.benchmark, place);
  problem.subject = io::optional_string(object, "subject", place).value_or("");
  problem.question = io::required_string(object, "question", place);
  problem.answer = io::required_string(object, "answer", place);
  problem.choices = choices_field(object, place);
  problem.place = place;
  return problem;
}

std::string block(const Problem& problem) {
  std::string text = problem.question;
  for (std::size_t i = 0; i < problem.choices.size(); ++i) {
    text += fmt::format("\n{}. {}", static_cast<char>('A' + i), problem.choices[i]);
  }
  return problem.choices.empty() ? text : text + "\nAnswer:";
}

}  // namespace

std::vector<Problem> read_problems(const std::filesystem::path& file) {
  std::vector<Problem> problems;
  io::LineReader reader(file);
  while (const std::optional<std::string_view> line = reader.next()) {
    if (!io::is_blank(*line)) {
      problems.push_back(parse_problem(*line, reader.place(), file));
    }
  }
  if (problems.empty()) {
    fail(ExitCode::bad_data, "{}: holds no problem; give lines with \"question\" and \"answer\"", file.string());
  }
  return problems;
}

Metric default_metric(const Problem& problem) {
  if (!problem.choices.empty()) {
    return Metric::letter;
  }
  return problem.benchmark == "gsm8k" || problem.benchmark == "svamp" ? Metric::number : Metric::exact;
}

std::vector<const Problem*> shots_for(const Problem& problem, std::span<const Problem> shots, std::int64_t count) {
  std::vector<const Problem*> chosen;
  for (const Problem& shot : shots) {
    const bool subject_fits = shot.subject.empty() || problem.subject.empty() || shot.subject == problem.subject;
    const bool is_itself = shot.question == problem.question;
    if (std::ssize(chosen) < count && shot.benchmark == problem.benchmark && subject_fits && !is_itself) {
      chosen.push_back(&shot);
    }
  }
  return chosen;
}

std::string instruction(const Problem& problem, std::span<const Problem* const> shots) {
  std::string text;
  for (const Problem* shot : shots) {
    text += block(*shot) + (shot->choices.empty() ? "\n" : " ") + std::string(trimmed(shot->answer)) + "\n\n";
  }
  return std::string(trimmed(text + block(problem)));
}

}  // namespace hrm::infer
