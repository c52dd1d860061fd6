#include "io/child_process.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>

namespace hrm::io {
namespace {

TEST(ChildProcess, LongAnswersComeBackWhole) {
  const std::string text(300000, 'x');

  const ChildAnswer answer = run_in_child(60, [&] { return text; });

  EXPECT_EQ(answer.kind, ChildAnswer::Kind::value);
  EXPECT_EQ(answer.text, text);
}

TEST(ChildProcess, EmptyAnswersAreAnswers) {
  const ChildAnswer answer = run_in_child(60, [] { return std::string(); });

  EXPECT_EQ(answer.kind, ChildAnswer::Kind::value);
  EXPECT_EQ(answer.text, "");
}

TEST(ChildProcess, ExceptionsComeBackAsTheirWords) {
  const ChildAnswer answer = run_in_child(60, []() -> std::string { throw std::runtime_error("broken"); });

  EXPECT_EQ(answer.kind, ChildAnswer::Kind::error);
  EXPECT_EQ(answer.text, "broken");
}

TEST(ChildProcess, CrashesAreNamed) {
  const ChildAnswer answer = run_in_child(60, []() -> std::string {
    ::raise(SIGSEGV);
    return "not reached";
  });

  EXPECT_EQ(answer.kind, ChildAnswer::Kind::crash);
  EXPECT_EQ(answer.text, "crash: Segmentation fault");
}

TEST(ChildProcess, SilentEndsAreCrashes) {
  const ChildAnswer answer = run_in_child(60, []() -> std::string { ::_exit(0); });

  EXPECT_EQ(answer.kind, ChildAnswer::Kind::crash);
}

TEST(ChildProcess, EndlessWorkIsGivenUp) {
  const ChildAnswer answer = run_in_child(1, []() -> std::string {
    while (true) {
      ::pause();
    }
  });

  EXPECT_EQ(answer.kind, ChildAnswer::Kind::crash);
  EXPECT_NE(answer.text.find("no answer in 1 s"), std::string::npos);
}

}  // namespace
}  // namespace hrm::io
