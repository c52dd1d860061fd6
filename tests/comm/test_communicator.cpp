#include <gtest/gtest.h>

#include <array>

#include "base/error.hpp"
#include "comm/communicator.hpp"

namespace hrm::comm {
namespace {

TEST(SerialCommunicator, ExchangesWithItselfInOrder) {
  const auto group = serial_communicator();
  const std::array<float, 2> a{1, 2};
  const std::array<float, 1> b{3};
  std::array<float, 2> first{};
  std::array<float, 1> second{};
  const std::array<Send, 2> sends{Send{0, std::as_bytes(std::span(a))}, Send{0, std::as_bytes(std::span(b))}};
  const std::array<Receive, 2> receives{Receive{0, std::as_writable_bytes(std::span(first))},
                                        Receive{0, std::as_writable_bytes(std::span(second))}};

  group->start_exchange(sends, receives);
  group->finish_exchange();

  EXPECT_EQ(first, a);
  EXPECT_EQ(second, b);
}

TEST(SerialCommunicator, RefusesATransferOfUnequalLengths) {
  const auto group = serial_communicator();
  const std::array<float, 2> a{1, 2};
  std::array<float, 1> small{};
  const std::array<Send, 1> sends{Send{0, std::as_bytes(std::span(a))}};
  const std::array<Receive, 1> receives{Receive{0, std::as_writable_bytes(std::span(small))}};

  EXPECT_THROW(group->start_exchange(sends, receives), InternalError);
}

TEST(Agree, NoFailurePasses) {
  const auto group = serial_communicator();

  EXPECT_NO_THROW(agree(*group, nullptr));
}

TEST(Agree, KeepsMessageAndCodeOfALoneRank) {
  const auto group = serial_communicator();

  try {
    together(*group, [] { fail(ExitCode::bad_data, "shard.h5: damaged; restore it"); });
    FAIL() << "together() passed on no failure";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_STREQ(error.what(), "shard.h5: damaged; restore it");
  }
}

TEST(Agree, BugsStayBugs) {
  const auto group = serial_communicator();

  EXPECT_THROW(together(*group, [] { ensure(false, "broken"); }), InternalError);
  EXPECT_THROW(together(*group, [] { throw std::bad_alloc(); }), InternalError);
}

}  // namespace
}  // namespace hrm::comm
