// Run under mpirun with any number of ranks: the NCCL communicator over a fake of NCCL and CUDA. Exit 0 if all promises
// hold; each failing one is one line on standard error.
#include <optional>

#include "comm/mpi_communicator.hpp"
#include "comm/mpi_session.hpp"
#include "comm/nccl_communicator.hpp"
#include "fake_nccl.hpp"
#include "mpi/communicator_checks.hpp"

namespace {

using namespace hrm;
using namespace hrm::comm;
using checks::expect;

constexpr double patient = 30;
constexpr double impatient = 1;

std::unique_ptr<Communicator> make_group(Communicator& world, double deadline) {
  return nccl_communicator(mpi_communicator(world.native()), deadline);
}

void check_promises(Communicator& world) {
  const auto group = make_group(world, patient);
  checks::check_group(*group);
  checks::check_trees(*group, *group, 6);
  checks::check_bucket_gather(*group);
  checks::check_grid(*group);
}

/// The data of an exchange are written by work that the default stream still holds when the exchange starts.
void check_order_behind_compute(Communicator& world) {
  const auto group = make_group(world, patient);
  fake::switches.host_polls = 5;
  const int right = (group->rank() + 1) % group->size();
  const int left = (group->rank() + group->size() - 1) % group->size();
  std::vector<std::byte> out(9);
  std::vector<std::byte> in(9);
  const auto write = [](void* data) {
    auto& bytes = *static_cast<std::vector<std::byte>*>(data);
    std::fill(bytes.begin(), bytes.end(), std::byte{7});
  };
  cudaLaunchHostFunc(nullptr, write, &out);
  const Send send{right, out};
  const Receive receive{left, in};

  group->start_exchange({&send, 1}, {&receive, 1});
  expect(out[0] == std::byte{0} && !group->poll(), "an exchange waits for the compute stream");
  group->finish_exchange();

  expect(std::all_of(in.begin(), in.end(), [](std::byte x) { return x == std::byte{7}; }),
         "an exchange comes behind what the compute stream held at its start");
  fake::switches = {};
}

/// Neither the host nor the next exchange waits for the end of one that only a stream needs.
void check_order_before_a_stream(Communicator& world) {
  const auto group = make_group(world, patient);
  fake::switches.background_polls = 2;
  fake::switches.host_polls = 5;
  const int right = (group->rank() + 1) % group->size();
  const int left = (group->rank() + group->size() - 1) % group->size();
  std::vector<std::byte> out(9);
  std::vector<std::byte> in(9);
  std::vector<std::byte> again(9);
  std::pair<std::vector<std::byte>*, std::byte> seen{&again, std::byte{0}};
  const auto write = [](void* data) {
    auto& bytes = *static_cast<std::vector<std::byte>*>(data);
    std::fill(bytes.begin(), bytes.end(), std::byte{7});
  };
  const auto read = [](void* data) {
    auto& [from, to] = *static_cast<decltype(seen)*>(data);
    to = from->back();
  };
  cudaLaunchHostFunc(nullptr, write, &out);
  const Send first_send{right, out};
  const Receive first_receive{left, in};
  const Send second_send{right, in};
  const Receive second_receive{left, again};

  group->start_exchange({&first_send, 1}, {&first_receive, 1});
  group->finish_exchange_before({DeviceType::cuda, nullptr});
  expect(in[0] == std::byte{0}, "the host does not wait for an exchange that a stream waits for");
  group->start_exchange({&second_send, 1}, {&second_receive, 1});
  group->finish_exchange_before({DeviceType::cuda, nullptr});
  cudaLaunchHostFunc(nullptr, read, &seen);
  cudaEvent_t end = nullptr;
  cudaEventCreateWithFlags(&end, cudaEventDisableTiming);
  cudaEventRecord(end, nullptr);
  while (cudaEventQuery(end) == cudaErrorNotReady) {
  }
  cudaEventDestroy(end);

  expect(seen.second == std::byte{7}, "what comes onto the stream later sees what two exchanges brought");
  expect(group->poll(), "no exchange is under way when a stream waits for it");
  fake::switches = {};
}

/// What `work` throws; nothing if it throws nothing.
template <class Work>
std::optional<InputError> error_of(Work&& work) {
  try {
    work();
  } catch (const InputError& error) {
    return error;
  }
  return std::nullopt;
}

void expect_lost(const std::optional<InputError>& error, const std::string& words, const std::string& when) {
  const std::string text = error ? error->what() : "no error";
  expect(error && error->code() == ExitCode::lost_peer, fmt::format("{}: a lost peer, not: {}", when, text));
  expect(text.find(words) != std::string::npos, fmt::format("{}: \"{}\" in: {}", when, words, text));
}

/// Only what is to miss its deadline gets a short one: nothing else may miss it on a busy machine.
double deadline_of(const fake::Switches& switches) {
  const bool errs = switches.background_error != ncclSuccess || switches.group_error != ncclSuccess ||
                    switches.call_error != ncclSuccess || switches.event_error != cudaSuccess ||
                    switches.id_error != ncclSuccess || switches.stream_error != cudaSuccess;
  return errs ? patient : impatient;
}

/// Every rank's exchange runs into `switches`.
void check_broken_exchange(Communicator& world, const fake::Switches& switches, const std::string& words,
                           const std::string& when) {
  auto group = make_group(world, deadline_of(switches));
  const int aborted = fake::counts.aborted;
  const int finalized = fake::counts.finalized;
  const int right = (group->rank() + 1) % group->size();
  const int left = (group->rank() + group->size() - 1) % group->size();
  std::array<std::byte, 3> out{};
  std::array<std::byte, 3> in{};
  const Send send{right, out};
  const Receive receive{left, in};
  fake::switches = switches;

  const auto error = error_of([&] {
    const auto unwound = std::move(group);
    unwound->start_exchange({&send, 1}, {&receive, 1});
    unwound->finish_exchange();
  });

  fake::switches = {};
  expect_lost(error, words, when);
  expect(fake::counts.aborted == aborted + (switches.abort_hangs ? 0 : 1), when + ": the group is aborted");
  expect(fake::counts.finalized == finalized, when + ": a group that unwinds waits for nobody");
}

/// What goes wrong behind the host's back shows when it asks, before it waits for the stream.
void check_broken_followed_exchange(Communicator& world, const fake::Switches& before, const fake::Switches& after,
                                    const std::string& words, const std::string& when) {
  auto group = make_group(world, deadline_of(after));
  std::array<std::byte, 3> out{};
  std::array<std::byte, 3> in{};
  const Send send{(group->rank() + 1) % group->size(), out};
  const Receive receive{(group->rank() + group->size() - 1) % group->size(), in};
  cudaStream_t follower = nullptr;  // its own: it waits for ever
  cudaStreamCreateWithPriority(&follower, cudaStreamNonBlocking, -5);
  fake::switches = before;
  group->start_exchange({&send, 1}, {&receive, 1});
  group->finish_exchange_before({DeviceType::cuda, follower});
  fake::switches = after;

  const auto error = error_of([&] {
    const auto unwound = std::move(group);
    unwound->finish_exchange();
  });

  fake::switches = {};
  cudaStreamDestroy(follower);
  expect_lost(error, words, when);
}

void check_errors_of_exchanges(Communicator& world) {
  // A rank alone only copies, so that NCCL has nothing to say.
  const bool alone = world.size() == 1;
  check_broken_exchange(world, {.background_error = ncclRemoteError},
                        "the fake's remote error (NCCL's last words: \"the fake's last words\")",
                        "an error in the background");
  check_broken_exchange(world, {.background_error = ncclRemoteError},
                        fmt::format("NCCL exchange of 3 bytes on rank {} of {} failed", world.rank(), world.size()),
                        "an error names what was tried");
  check_broken_exchange(world, {.group_error = ncclSystemError}, "the fake's system error", "an error of a group");
  check_broken_exchange(world, {.event_error = cudaErrorIllegalAddress}, "cudaEventQuery failed: the fake's CUDA error",
                        "an error of CUDA");
  if (!alone) {
    check_broken_exchange(world, {.call_error = ncclSystemError}, "ncclRecv failed: the fake's system error",
                          "an error inside a group");
    check_broken_exchange(world, {.work_stalls = true}, "is not done after 1 s", "a missed deadline");
    check_broken_exchange(world, {.background_polls = 1 << 30}, "is not done after 1 s",
                          "a group that is never issued");
    check_broken_exchange(world, {.work_stalls = true, .abort_hangs = true}, "is not done after 1 s",
                          "an abort that hangs");
    check_broken_followed_exchange(world, {.work_stalls = true}, {.work_stalls = true}, "is not done after 1 s",
                                   "a missed deadline of an exchange that a stream waits for");
    check_broken_followed_exchange(world, {.work_stalls = true},
                                   {.work_stalls = true, .background_error = ncclRemoteError},
                                   "the fake's remote error", "an error of an exchange that a stream waits for");
  }
}

/// The group does not come about with `switches` on rank `culprit` (-1: on all).
void check_broken_start(Communicator& world, int culprit, const fake::Switches& switches, const std::string& words,
                        const std::string& when) {
  if (culprit < 0 || culprit == world.rank()) {
    fake::switches = switches;
  }
  const auto error = error_of([&] { make_group(world, deadline_of(switches)); });

  fake::switches = {};
  expect_lost(error, words, when);
}

void check_errors_of_starts(Communicator& world) {
  const int last = world.size() - 1;
  check_broken_start(world, 0, {.id_error = ncclSystemError}, "ncclGetUniqueId failed: the fake's system error",
                     "no unique id");
  check_broken_start(world, last, {.stream_error = cudaErrorNoDevice}, "cudaStreamCreateWithPriority failed",
                     "no device on one rank");
  const int aborted = fake::counts.aborted;
  check_broken_start(
      world, -1, {.init_stalls = true},
      fmt::format("ncclCommInitRankConfig (rank {} of {}) is not done after 1 s", world.rank(), last + 1),
      "a group that never comes about");
  expect(fake::counts.aborted == aborted + 1, "a group that never came about is aborted");
}

/// A caller who has caught the error and goes on: the group has failed, so nobody waits for the others either.
void check_end_after_caught_error(Communicator& world) {
  auto group = make_group(world, patient);
  const int aborted = fake::counts.aborted;
  const int destroyed = fake::counts.destroyed;
  fake::switches.background_polls = 1;
  fake::switches.background_error = ncclRemoteError;

  group.reset();

  fake::switches = {};
  expect(fake::counts.aborted == aborted + 1 && fake::counts.destroyed == destroyed, "a failed group is aborted");
}

}  // namespace

int main() {
  MpiSession session;
  Communicator& world = session.world();
  check_promises(world);
  fake::switches.background_polls = 3;
  check_promises(world);
  fake::switches = {};
  check_order_behind_compute(world);
  check_order_before_a_stream(world);
  expect(fake::counts.aborted == 0 && fake::counts.destroyed > 0, "groups without errors are destroyed, not aborted");
  check_errors_of_exchanges(world);
  check_errors_of_starts(world);
  check_end_after_caught_error(world);
  check_promises(world);
  expect(fake::counts.streams == 0 && fake::counts.events == 0, "streams and events are given back");
  expect(fake::counts.wrong_use == 0, "NCCL and CUDA are used as their manuals ask");
  return checks::exit_code(world);
}
