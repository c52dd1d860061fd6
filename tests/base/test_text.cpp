#include "base/text.hpp"

#include <gtest/gtest.h>

#include "base/round.hpp"

namespace hrm {
namespace {

TEST(Text, IsTrimmedAtBothEndsOnly) {
  EXPECT_EQ(trimmed(" \t a b\r\n"), "a b");
  EXPECT_EQ(trimmed(" \n"), "");
}

TEST(Text, MissingVariableIsEmpty) {
  EXPECT_EQ(environment("NO_SUCH_VARIABLE_OF_THIS_TEST"), "");
}

TEST(Round, GoesUpToTheNextMultiple) {
  EXPECT_EQ(round_up(0, 8), 0);
  EXPECT_EQ(round_up(9, 8), 16);
  EXPECT_EQ(round_up(16, 8), 16);
}

}  // namespace
}  // namespace hrm
