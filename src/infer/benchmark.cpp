#include "infer/benchmark.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"

namespace hrm::infer {
namespace {

std::vector<Tokens> make_prompts(const Model& model, const std::vector<Graded>& problems,
                                 const BenchmarkOptions& options) {
  const PromptEncoder encoder(model.tokenizer);
  std::vector<Problem> shots;
  if (options.shots > 0) {
    shots = read_problems(options.shots_file);
  }
  std::vector<Tokens> prompts;
  std::int64_t without_shots = 0;
  for (const Graded& graded : problems) {
    const auto chosen = shots_for(graded.problem, shots, options.shots);
    without_shots += options.shots > 0 && chosen.empty() ? 1 : 0;
    prompts.push_back(encoder.encode(instruction(graded.problem, chosen), options.condition, graded.problem.place));
  }
  if (without_shots > 0) {
    log::warn("{}: {} problems find no shot of their benchmark and subject there and go without",
              options.shots_file.string(), without_shots);
  }
  return prompts;
}

/// Answers to the problems of one kind: letters take one token, the others as many as are allowed.
void answer(const comm::Grid& grid, const Model& model, std::span<const Tokens> prompts, bool letters,
            const BenchmarkOptions& options, std::vector<Graded>& problems) {
  std::vector<std::size_t> chosen;
  std::vector<Tokens> their_prompts;
  for (std::size_t i = 0; i < problems.size(); ++i) {
    if ((problems[i].metric == Metric::letter) == letters) {
      chosen.push_back(i);
      their_prompts.push_back(prompts[i]);
    }
  }
  GenerateOptions generate_options = options.generate;
  generate_options.max_tokens = letters ? 1 : options.generate.max_tokens;
  const std::vector<Answer> answers = generate(grid, model, their_prompts, generate_options);
  const PromptEncoder encoder(model.tokenizer);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    problems[chosen[i]].reply = encoder.text(answers[i].tokens);
  }
  const auto too_long = std::ranges::count(answers, Finish::prompt_too_long, &Answer::finish);
  if (too_long > 0) {
    log::warn("{} prompts are longer than the model's max_seq_len of {}; their replies are empty", too_long,
              model.config.max_seq_len);
  }
}

void count(const Verdict& verdict, Score& score) {
  score.n += 1;
  score.correct += verdict.correct ? 1 : 0;
  score.invalid += verdict.valid ? 0 : 1;
}

BenchmarkScore& score_named(const std::string& name, std::vector<BenchmarkScore>& scores) {
  const auto found = std::ranges::find(scores, name, &BenchmarkScore::name);
  return found != scores.end() ? *found : scores.emplace_back(BenchmarkScore{name, {}, {}});
}

}  // namespace

double BenchmarkScore::subject_mean() const {
  double sum = 0;
  for (const auto& [subject, score] : subjects) {
    sum += score.score();
  }
  return subjects.empty() ? 0 : sum / static_cast<double>(subjects.size());
}

std::vector<Graded> read_benchmarks(const BenchmarkOptions& options) {
  std::vector<Graded> all;
  std::map<std::string, std::int64_t> taken;
  for (const std::filesystem::path& file : options.files) {
    for (Problem& problem : read_problems(file)) {
      if (options.limit > 0 && taken[problem.benchmark]++ >= options.limit) {
        continue;
      }
      const Metric metric = options.metric.value_or(default_metric(problem));
      if (!is_answer(metric, problem.answer, problem.choices.size())) {
        fail(ExitCode::bad_data,
             "{}: the answer '{}' is no {} that a reply could be compared with; correct the line "
             "or give another --metric",
             problem.place, problem.answer,
             metric == Metric::letter   ? "letter of a choice"
             : metric == Metric::number ? "number"
                                        : "text");
      }
      all.push_back({std::move(problem), metric, "", {}});
    }
  }
  return all;
}

BenchmarkReport run_benchmarks(const comm::Grid& grid, const Model& model, const BenchmarkOptions& options) {
  std::vector<Graded> problems;
  comm::together(*grid.world, [&] { problems = read_benchmarks(options); });
  return run_benchmarks(grid, model, options, std::move(problems));
}

BenchmarkReport run_benchmarks(const comm::Grid& grid, const Model& model, const BenchmarkOptions& options,
                               std::vector<Graded> problems) {
  BenchmarkReport report;
  report.replies = std::move(problems);
  std::vector<Tokens> prompts;
  comm::together(*grid.world, [&] { prompts = make_prompts(model, report.replies, options); });
  answer(grid, model, prompts, true, options, report.replies);
  answer(grid, model, prompts, false, options, report.replies);
  for (Graded& graded : report.replies) {
    const Problem& problem = graded.problem;
    graded.verdict = judge(graded.metric, graded.reply, problem.answer, problem.choices.size());
    BenchmarkScore& score = score_named(problem.benchmark, report.scores);
    count(graded.verdict, score.total);
    if (!problem.subject.empty()) {
      count(graded.verdict, score.subjects[problem.subject]);
    }
  }
  return report;
}

}  // namespace hrm::infer
