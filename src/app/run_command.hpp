#pragma once
#include <exception>
#include <memory>

#include "app/command_table.hpp"
#include "base/error.hpp"
#include "comm/mpi_session.hpp"

namespace hrm::app {

/// One command with what it runs in. Errors of `start` and `run` are handed to `report`, in main's catch.
class CommandRun {
 public:
  explicit CommandRun(bool allow_single);

  /// Checks the launch and starts MPI where the command asks for it. InputError(usage) for a wrong launch.
  void start(const Command& command, Arguments args);
  int run(const Command& command, Arguments args);

  /// Prints `hrm: error: …` once for all ranks and returns the exit code. When this rank fails alone, the others are
  /// ended through MPI and this does not return.
  int report(ExitCode code, const std::string& message);

 private:
  bool allow_single_;
  std::unique_ptr<comm::MpiSession> session_;
};

/// "--allow-single" anywhere before "--" is taken out of `args`.
bool take_allow_single(std::vector<std::string>& args);

}  // namespace hrm::app
