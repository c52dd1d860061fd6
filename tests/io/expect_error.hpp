#pragma once
#include <gtest/gtest.h>

#include <string>

#include "base/error.hpp"

namespace hrm::io {

/// `work` throws InputError with this code and words in its message.
template <class Work>
void expect_error(ExitCode code, const std::string& words, Work work) {
  try {
    work();
    FAIL() << "no error; expected: " << words;
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

}  // namespace hrm::io
