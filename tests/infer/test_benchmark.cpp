#include "infer/benchmark.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/text.hpp"
#include "tests/infer/small_model.hpp"
#include "tests/infer/test_folder.hpp"

namespace hrm::infer {
namespace {

using test::write_file;

using test::SmallModel;

BenchmarkReport run(const SmallModel& model, const BenchmarkOptions& options) {
  const auto alone = comm::serial_communicator();
  return run_benchmarks(comm::make_grid(*alone, 1), model.view(), options);
}

BenchmarkOptions options_for(const std::string& text) {
  BenchmarkOptions options;
  options.files = {write_file("problems.jsonl", text)};
  options.generate.max_tokens = 4;
  return options;
}

const char* const problems =
    "{\"benchmark\":\"quiz\",\"question\":\"one?\",\"choices\":[\"x\",\"y\"],\"answer\":\"A\",\"subject\":\"s\"}\n"
    "{\"benchmark\":\"gsm8k\",\"question\":\"two?\",\"answer\":\"2\"}\n"
    "{\"benchmark\":\"quiz\",\"question\":\"three?\",\"choices\":[\"x\",\"y\"],\"answer\":\"B\",\"subject\":\"t\"}\n";

TEST(Benchmark, OneFileMayHoldSeveral) {
  const BenchmarkReport report = run(SmallModel(), options_for(problems));

  ASSERT_EQ(report.scores.size(), 2U);
  EXPECT_EQ(report.scores[0].name, "quiz");
  EXPECT_EQ(report.scores[0].total.n, 2);
  EXPECT_EQ(report.scores[0].subjects.at("t").n, 1);
  EXPECT_EQ(report.scores[1].name, "gsm8k");
  EXPECT_EQ(report.replies[1].metric, Metric::number);
}

TEST(Benchmark, CountsAgreeWithTheReplies) {
  const BenchmarkReport report = run(SmallModel(), options_for(problems));

  std::int64_t invalid = 0;
  for (const Graded& graded : report.replies) {
    const Problem& problem = graded.problem;
    const Verdict verdict = judge(graded.metric, graded.reply, problem.answer, problem.choices.size());
    invalid += verdict.valid ? 0 : 1;
  }
  EXPECT_EQ(report.scores[0].total.invalid + report.scores[1].total.invalid, invalid);
}

TEST(Benchmark, ScoresWhatTheModelSays) {
  const SmallModel model;
  const BenchmarkReport first =
      run(model, options_for("{\"benchmark\":\"b\",\"question\":\"one\",\"answer\":\"?\"}\n"));
  const std::string reply(trimmed(first.replies.at(0).reply));
  ASSERT_FALSE(reply.empty());
  nlohmann::json known{{"benchmark", "b"}, {"question", "one"}, {"answer", reply}};

  const BenchmarkReport second = run(model, options_for(known.dump() + "\n"));

  EXPECT_EQ(second.scores.at(0).total.correct, 1);
  EXPECT_EQ(first.scores.at(0).total.correct, 0);
}

TEST(Benchmark, LimitHoldsForEachBenchmark) {
  BenchmarkOptions options = options_for(problems);
  options.limit = 1;

  const BenchmarkReport report = run(SmallModel(), options);

  EXPECT_EQ(report.scores.at(0).total.n, 1);
  EXPECT_EQ(report.scores.at(1).total.n, 1);
}

TEST(Benchmark, RefusesAnAnswerThatNoReplyCanMatch) {
  BenchmarkOptions options = options_for(problems);
  options.metric = Metric::letter;

  try {
    run(SmallModel(), options);
    FAIL() << "a problem without choices was scored by letter";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_NE(std::string(error.what()).find("problems.jsonl:2"), std::string::npos);
  }
}

}  // namespace
}  // namespace hrm::infer
