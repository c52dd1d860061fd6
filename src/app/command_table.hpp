#pragma once
// The commands that exist: name, how they start, one line of help.
#include <span>
#include <string>
#include <string_view>

#include "app/commands.hpp"

namespace hrm::app {

/// What a command needs of MPI: nothing; a session where a launcher started it, else none; always a session.
enum class Start { one_process, mpi_if_launched, mpi };

struct Command {
  std::string_view name;
  Start start;
  std::string_view help;
  int (*run)(Arguments args, comm::Communicator& world);
};

std::span<const Command> commands();

/// InputError(usage) naming the nearest command.
const Command& find_command(const std::string& name);

/// Text of `hrm --help`.
std::string help_text();
/// Text of `hrm --version`: program, build, back ends, and libraries as built with and as running.
std::string version_text();

}  // namespace hrm::app
