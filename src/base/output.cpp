#include "base/output.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/error.hpp"

namespace hrm::output {
namespace {

void check(bool written) {
  if (!written && errno != EPIPE) {
    fail(ExitCode::io_error, "cannot write to standard output: {}; check where it goes to", std::strerror(errno));
  }
}

}  // namespace

void write(std::string_view text) {
  if (std::ferror(stdout) == 0) {
    check(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
  }
}

void finish() {
  if (std::ferror(stdout) == 0) {
    check(std::fflush(stdout) == 0);
  }
}

}  // namespace hrm::output
