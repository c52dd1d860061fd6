#include "app/run_command.hpp"

#include <algorithm>
#include <cstdio>

#include "app/launch.hpp"
#include "app/rank_map.hpp"
#include "base/log.hpp"
#include "base/stop_request.hpp"

namespace hrm::app {
namespace {

/// Ranks that fail over the same cause do so within moments of each other; a rank that is alone after this long ends
/// all.
constexpr double patience_seconds = 5;

void print_error(const std::string& message) {
  std::fputs(fmt::format("hrm: error: {}\n", message).c_str(), stderr);
  std::fflush(stderr);
}

/// Questions that one process answers, for scripts that are no step of a job.
bool only_asks(Arguments args) {
  return std::any_of(args.begin(), args.end(), [](const std::string& arg) {
    return arg == "--print-config" || arg == "--keys" || arg == "--help";
  });
}

bool wants_session(const Command& command) {
  return command.start == Start::mpi || (command.start == Start::mpi_if_launched && launch_step().has_value());
}

}  // namespace

CommandRun::CommandRun(bool allow_single) : allow_single_(allow_single) {
  const auto step = launch_step();
  log::set_rank(step ? step->index : 0);
}

void CommandRun::start(const Command& command, Arguments args) {
  if (command.name == "train" || command.name == "eval") {
    watch_stop_signals();  // MPI may take seconds to start, and a signal in them must not kill the rank
  }
  if (only_asks(args)) {
    return;
  }
  const std::string name(command.name);
  if (!allow_single_) {
    check_before_start(name, command.start != Start::one_process);
  }
  if (!wants_session(command)) {
    return;
  }
  session_ = std::make_unique<comm::MpiSession>();
  const int size = session_->world().size();
  if (!allow_single_) {
    check_world(name, size);
  }
  check_same_program(session_->world(), program_text());
  log::set_rank(session_->world().rank());
}

int CommandRun::run(const Command& command, Arguments args) {
  if (session_) {
    return command.run(args, session_->world());
  }
  return command.run(args, *comm::serial_communicator());
}

int CommandRun::report(ExitCode code, const std::string& message) {
  if (!session_ || session_->world().size() == 1 || session_->all_failed(patience_seconds)) {
    if (log::rank() == 0) {
      print_error(message);
    }
    return static_cast<int>(code);
  }
  const std::string rank = fmt::format("rank {}: ", session_->world().rank());
  print_error(message.starts_with("rank ") ? message : rank + message);
  session_->abort(static_cast<int>(code));
}

bool take_allow_single(std::vector<std::string>& args) {
  const auto end = std::find(args.begin(), args.end(), "--");
  const auto found = std::find(args.begin(), end, "--allow-single");
  if (found == end) {
    return false;
  }
  args.erase(found);
  return true;
}

}  // namespace hrm::app
