// hrm COMMAND …: from arguments to an exit code. The only place that catches.
#include <csignal>
#include <string>
#include <vector>

#include "app/run_command.hpp"
#include "base/output.hpp"

namespace {

int run(hrm::app::CommandRun& command_run, const std::vector<std::string>& args) {
  using namespace hrm;
  // 1. What concerns no command.
  if (args.empty()) {
    fail(ExitCode::usage, "no command; hrm --help lists them");
  }
  if (args[0] == "--help" || args[0] == "-h") {
    output::write(app::help_text());
    output::finish();
    return 0;
  }
  if (args[0] == "--version") {
    output::write(app::version_text());
    output::finish();
    return 0;
  }
  // 2. The command, the launch, MPI.
  const app::Command& command = app::find_command(args[0]);
  const app::Arguments rest = app::Arguments(args).subspan(1);
  command_run.start(command, rest);
  // 3. The work.
  const int code = command_run.run(command, rest);
  output::finish();
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that goes away shows as a failed write, never as a signal.
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> args(argv + 1, argv + argc);
  hrm::app::CommandRun command_run(hrm::app::take_allow_single(args));
  try {
    return run(command_run, args);
  } catch (const hrm::InputError& error) {
    return command_run.report(error.code(), error.what());
  } catch (const std::exception& error) {
    return command_run.report(hrm::ExitCode::internal,
                              std::string("internal error: ") + error.what() + "; please report it");
  }
}
