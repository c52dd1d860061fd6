#pragma once
// How this process was started, from the launcher's environment: known before, and without, MPI.
#include <optional>
#include <string>

namespace hrm::app {

/// What a launcher says of the step that this process belongs to.
struct LaunchStep {
  int tasks = 1;  ///< processes that were started together
  int index = 0;  ///< number of this one
  bool slurm = false;
};

/// Nothing when no launcher is seen. mpirun's own variables win over SLURM's: inside an allocation both are set.
std::optional<LaunchStep> launch_step();

/// Refuses a step of several tasks for a command that runs as one process, and one of SLURM without PMIx, in which
/// Open MPI would end with a banner of its own. Call before MPI starts. InputError(usage).
void check_before_start(const std::string& command, bool uses_mpi);

/// A step of several tasks in which MPI sees a single rank means as many runs of one rank. InputError(usage) with the
/// right command line.
void check_world(const std::string& command, int world_size);

}  // namespace hrm::app
