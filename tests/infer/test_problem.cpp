#include "infer/problem.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "tests/infer/test_folder.hpp"

namespace hrm::infer {
namespace {

using test::write_file;

Problem letters(const std::string& question, const std::string& answer, const std::string& subject = "") {
  return {"quiz", subject, question, answer, {"red", "blue"}, "quiz.jsonl:1"};
}

std::string refusal(const std::string& text) {
  try {
    read_problems(write_file("bad_problems.jsonl", text));
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    return error.what();
  }
  return "";
}

TEST(Problem, ChoicesAreLettered) {
  EXPECT_EQ(instruction(letters("Sky?", "B"), {}), "Sky?\nA. red\nB. blue\nAnswer:");
}

TEST(Problem, ShotsAreFollowedByTheLetterAndABlankLine) {
  const Problem shot = letters("Blood?", "A");
  const std::vector<const Problem*> shots{&shot};

  EXPECT_EQ(instruction(letters("Sky?", "B"), shots),
            "Blood?\nA. red\nB. blue\nAnswer: A\n\nSky?\nA. red\nB. blue\nAnswer:");
}

TEST(Problem, PlainQuestionsStayAsTheyAre) {
  const Problem plain{"sums", "", " 1 + 1 =\n", "2", {}, ""};

  EXPECT_EQ(instruction(plain, {}), "1 + 1 =");
}

TEST(Problem, MetricFollowsChoicesAndName) {
  EXPECT_EQ(default_metric(letters("Sky?", "B")), Metric::letter);
  EXPECT_EQ(default_metric({"gsm8k", "", "q", "1", {}, ""}), Metric::number);
  EXPECT_EQ(default_metric({"svamp", "", "q", "1", {}, ""}), Metric::number);
  EXPECT_EQ(default_metric({"mathematics", "", "q", "1", {}, ""}), Metric::exact);
}

TEST(Problem, ShotsComeFromTheSameBenchmarkAndSubject) {
  std::vector<Problem> pool{letters("a", "A", "law"), letters("b", "A", "art"), letters("c", "A", "law"),
                            letters("d", "A", "law")};
  pool[0].benchmark = "other";

  const auto chosen = shots_for(letters("q", "A", "law"), pool, 1);

  ASSERT_EQ(chosen.size(), 1U);
  EXPECT_EQ(chosen[0]->question, "c");
}

TEST(Problem, IsNoShotOfItself) {
  const std::vector<Problem> pool{letters("q", "A"), letters("r", "B")};

  const auto chosen = shots_for(letters("q", "A"), pool, 2);

  ASSERT_EQ(chosen.size(), 1U);
  EXPECT_EQ(chosen[0]->question, "r");
}

TEST(Problem, IsReadWithItsPlace) {
  const auto file = write_file("quiz.jsonl",
                               "{\"benchmark\":\"b\",\"question\":\"q\",\"answer\":\"A\",\"choices\":[\"x\",\"y\"],"
                               "\"subject\":\"s\"}\n\n{\"question\":\"r\",\"answer\":\"2\"}\n");

  const std::vector<Problem> problems = read_problems(file);

  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0].choices, (std::vector<std::string>{"x", "y"}));
  EXPECT_EQ(problems[0].subject, "s");
  EXPECT_EQ(problems[1].benchmark, "quiz");
  EXPECT_EQ(problems[1].place, file.string() + ":3");
}

TEST(Problem, BadLinesAreNamed) {
  EXPECT_NE(refusal("{\"question\":\"q\",\"answer\":\"1\"}\n{\"question\":\"q\"}\n").find("bad_problems.jsonl:2: "),
            std::string::npos);
  EXPECT_NE(refusal("{\"question\":\"q\",\"answer\":\"A\",\"choices\":[\"x\",2]}\n").find(":1: \"choices\""),
            std::string::npos);
  EXPECT_NE(refusal("{\"question\":\"q\",\"answer\":\"A\",\"choices\":[]}\n").find(":1: \"choices\""),
            std::string::npos);
  EXPECT_NE(refusal("{\"benchmark\":\"loss\",\"question\":\"q\",\"answer\":\"1\"}\n").find("be named \"loss\""),
            std::string::npos);
  EXPECT_NE(refusal("\n").find("holds no problem"), std::string::npos);
}

TEST(Problem, NamesThatCannotBeAGroupOfTheirOwnAreRefused) {
  const auto of = [](const std::string& name) {
    return refusal("{\"benchmark\":\"" + name + "\",\"question\":\"q\",\"answer\":\"1\"}\n");
  };
  for (const char* name : {"heldout", "heldout.sums", "", ".", "heldout/sums", "a\\u0000b"}) {
    EXPECT_NE(of(name).find("bad_problems.jsonl:1: "), std::string::npos) << name;
  }
  for (const char* name : {"held", "heldouts", "..", "a.b", "a/b"}) {
    EXPECT_EQ(of(name), "") << name;
  }
}

}  // namespace
}  // namespace hrm::infer
