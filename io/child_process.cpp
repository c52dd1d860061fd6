#include "io/child_process.hpp"

#include <fmt/core.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstring>
#include <exception>
#include <string_view>

namespace hrm::io {
namespace {

// The last byte of an answer says which kind it is.
constexpr char value_mark = 'v';
constexpr char error_mark = 'e';

void write_all(int pipe_end, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(pipe_end, text.data(), text.size());
    if (done <= 0) {
      ::_exit(1);
    }
    text.remove_prefix(static_cast<std::size_t>(done));
  }
}

std::string read_all(int pipe_end) {
  std::string text;
  std::array<char, 4096> chunk{};
  for (ssize_t got = 0; (got = ::read(pipe_end, chunk.data(), chunk.size())) > 0;) {
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  return text;
}

/// The exit status is 0 only behind a whole answer.
[[noreturn]] void answer(int pipe_end, unsigned seconds, const std::function<std::string()>& work) {
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  for (const int number : {SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGABRT}) {
    ::signal(number, SIG_DFL);
  }
  ::alarm(seconds);
  std::string text;
  try {
    text = work() + value_mark;
  } catch (const std::exception& error) {
    text = std::string(error.what()) + error_mark;
  }
  write_all(pipe_end, text);
  ::_exit(0);
}

ChildAnswer answer_of(const std::string& text, int status, unsigned seconds) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && !text.empty()) {
    return {text.back() == value_mark ? ChildAnswer::Kind::value : ChildAnswer::Kind::error,
            text.substr(0, text.size() - 1)};
  }
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
    return {ChildAnswer::Kind::crash, fmt::format("no answer in {} s", seconds)};
  }
  if (WIFSIGNALED(status)) {
    return {ChildAnswer::Kind::crash, fmt::format("crash: {}", ::strsignal(WTERMSIG(status)))};
  }
  return {ChildAnswer::Kind::crash, fmt::format("end with exit code {}", WEXITSTATUS(status))};
}

}  // namespace

ChildAnswer run_in_child(unsigned seconds, const std::function<std::string()>& work) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    return {ChildAnswer::Kind::crash, std::strerror(errno)};
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    answer(ends[1], seconds, work);
  }
  ::close(ends[1]);
  const std::string text = child > 0 ? read_all(ends[0]) : "";
  ::close(ends[0]);
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) {
    return {ChildAnswer::Kind::crash, std::strerror(errno)};
  }
  return answer_of(text, status, seconds);
}

}  // namespace hrm::io
