#include <gtest/gtest.h>

#include <cstdlib>

#include "app/command_table.hpp"
#include "app/launch.hpp"
#include "app/options.hpp"
#include "app/run_command.hpp"
#include "base/error.hpp"

namespace hrm::app {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

/// Environment variables for one test; unset again at its end.
class Environment {
 public:
  explicit Environment(Variables variables) : variables_(std::move(variables)) {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK", "SLURM_STEP_ID",
                             "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_PROCID", "ENVIRONMENT", "PMIX_RANK"}) {
      ::unsetenv(name);
    }
    for (const auto& [name, value] : variables_) {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~Environment() {
    for (const auto& [name, value] : variables_) {
      ::unsetenv(name.c_str());
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  Variables variables_;
};

/// Message of the usage error of `work`, "no error" without one.
template <class Work>
std::string usage_error(Work&& work) {
  try {
    work();
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::usage) << error.what();
    return error.what();
  }
  return "no error";
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string parse_error(std::vector<std::string> args) {
  po::options_description options;
  add_config_options(options);
  options.add_options()("count", po::value<int>(), "a number");
  return usage_error([&] { parse_options(args, "hrm thing [options]", options); });
}

TEST(CommandTable, UnknownCommandNamesTheNearest) {
  EXPECT_TRUE(holds(usage_error([] { find_command("validat"); }), "'validate'"));
}

TEST(CommandTable, HelpListsEveryCommand) {
  for (const Command& command : commands()) {
    EXPECT_TRUE(holds(help_text(), "  " + std::string(command.name) + " ")) << command.name;
  }
}

TEST(CommandTable, VersionNamesTheLibraries) {
  for (const char* name : {"git revision", "build type", "back ends", "MPI", "HDF5", "oneDNN"}) {
    EXPECT_TRUE(holds(version_text(), name)) << name;
  }
}

TEST(Options, UnknownOptionNamesTheNearest) {
  EXPECT_TRUE(holds(parse_error({"--confg", "x"}), "nearest is --config"));
}

TEST(Options, AbbreviationsAreRefused) {
  EXPECT_TRUE(holds(parse_error({"--conf", "x"}), "--config"));
}

TEST(Options, WrongValueMissingValueAndStrayWordAreUsageErrors) {
  EXPECT_TRUE(holds(parse_error({"--count", "many"}), "hrm thing --help"));
  EXPECT_TRUE(holds(parse_error({"--count"}), "hrm thing --help"));
  EXPECT_TRUE(holds(parse_error({"stray"}), "hrm thing --help"));
}

TEST(Options, MissingRequiredOptionIsNamed) {
  EXPECT_TRUE(holds(usage_error([] { required(po::variables_map(), "checkpoint"); }), "--checkpoint"));
}

TEST(Options, AllowSingleIsTakenOutOnce) {
  std::vector<std::string> args = {"train", "--allow-single", "--set", "a=b"};

  EXPECT_TRUE(take_allow_single(args));
  EXPECT_EQ(args, (std::vector<std::string>{"train", "--set", "a=b"}));
  EXPECT_FALSE(take_allow_single(args));
}

TEST(Launch, NoLauncherIsNoStep) {
  const Environment environment{Variables{}};

  EXPECT_FALSE(launch_step().has_value());
}

TEST(Launch, SeveralWorldsOfOneRankAreRefused) {
  const Environment environment(Variables{{"OMPI_COMM_WORLD_SIZE", "4"}});

  EXPECT_TRUE(holds(usage_error([] { check_world("train", 1); }), "mpirun -n 4 hrm train"));
  EXPECT_EQ(usage_error([] { check_world("train", 4); }), "no error");
}

TEST(Launch, SlurmStepWithoutPmixIsRefusedBeforeMpi) {
  const Environment environment(Variables{{"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}});

  EXPECT_EQ(launch_step()->index, 1);
  EXPECT_TRUE(holds(usage_error([] { check_before_start("train", true); }), "srun --mpi=pmix -n 2 hrm train"));
}

TEST(Launch, SlurmTasksOutsideAStepVariableCountInAStep) {
  const Environment environment(Variables{{"SLURM_NTASKS", "3"}, {"SLURM_PROCID", "0"}});

  EXPECT_EQ(launch_step()->tasks, 3);
}

TEST(Launch, BatchScriptIsNoStepOfSeveralTasks) {
  const Environment environment(Variables{{"SLURM_NTASKS", "3"}, {"SLURM_PROCID", "0"}, {"ENVIRONMENT", "BATCH"}});

  EXPECT_FALSE(launch_step().has_value());
}

TEST(Launch, MpirunOfOneRankInsideAnAllocationIsFine) {
  const Environment environment(
      Variables{{"OMPI_COMM_WORLD_SIZE", "1"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", "0"}});

  EXPECT_EQ(usage_error([] { check_world("train", 1); }), "no error");
}

TEST(Launch, OneProcessCommandIsRefusedInAStepOfSeveral) {
  const Environment environment(Variables{{"OMPI_COMM_WORLD_SIZE", "2"}});

  EXPECT_TRUE(holds(usage_error([] { check_before_start("inspect", false); }), "start it alone: hrm inspect"));
}

}  // namespace
}  // namespace hrm::app
