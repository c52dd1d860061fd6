#include "app/launch.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "base/error.hpp"
#include "comm/mpi_session.hpp"

namespace hrm::app {
namespace {

/// A number in the environment, `otherwise` where there is none.
int number(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  int value = otherwise;
  if (text != nullptr && std::from_chars(text, text + std::strlen(text), value).ec != std::errc()) {
    return otherwise;
  }
  return value;
}

bool given(const char* variable) {
  return std::getenv(variable) != nullptr;
}

/// A batch script itself has SLURM_PROCID = 0 and SLURM_NTASKS of its allocation, and is not a step of several tasks.
bool in_slurm_step() {
  const char* environment = std::getenv("ENVIRONMENT");
  const bool in_batch_script = environment != nullptr && std::string(environment) == "BATCH";
  return given("SLURM_STEP_NUM_TASKS") || given("SLURM_STEP_ID") || (given("SLURM_PROCID") && !in_batch_script);
}

std::string right_command(const std::string& command, const LaunchStep& step) {
  return fmt::format("{} -n {} hrm {} …", step.slurm ? "srun --mpi=pmix" : "mpirun", step.tasks, command);
}

}  // namespace

std::optional<LaunchStep> launch_step() {
  if (given("OMPI_COMM_WORLD_SIZE")) {
    return LaunchStep{number("OMPI_COMM_WORLD_SIZE", 1), number("OMPI_COMM_WORLD_RANK", 0), false};
  }
  if (given("PMI_SIZE")) {
    return LaunchStep{number("PMI_SIZE", 1), number("PMI_RANK", 0), false};
  }
  if (in_slurm_step()) {
    const int tasks = number("SLURM_STEP_NUM_TASKS", number("SLURM_NTASKS", 1));
    return LaunchStep{tasks, number("SLURM_PROCID", 0), true};
  }
  return std::nullopt;
}

void check_before_start(const std::string& command, bool uses_mpi) {
  const std::optional<LaunchStep> step = launch_step();
  if (!step || step->tasks <= 1) {
    return;
  }
  if (!uses_mpi) {
    fail(ExitCode::usage, "hrm {} runs as one process and was started {} times; start it alone: hrm {} …", command,
         step->tasks, command);
  }
  const bool wired = given("PMIX_RANK") || given("PMIX_NAMESPACE") || given("PMI_FD");
  if (step->slurm && !wired && comm::mpi_library().starts_with("Open MPI")) {
    fail(ExitCode::usage,
         "srun started {} tasks without PMIx, so each would be a run of its own; start with: {} (or --allow-single)",
         step->tasks, right_command(command, *step));
  }
}

void check_world(const std::string& command, int world_size) {
  const std::optional<LaunchStep> step = launch_step();
  if (world_size == 1 && step && step->tasks > 1) {
    fail(ExitCode::usage,
         "{} tasks were started but MPI sees a single rank: {} runs of one rank each. Use the launcher of {}: {} (or "
         "--allow-single)",
         step->tasks, step->tasks, comm::mpi_library(), right_command(command, *step));
  }
}

}  // namespace hrm::app
