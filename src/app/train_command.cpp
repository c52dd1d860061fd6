// hrm train
#include <string>

#include "app/commands.hpp"
#include "app/options.hpp"
#include "app/rank_map.hpp"
#include "app/threads.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/output.hpp"
#include "config/fields.hpp"
#include "infer/loaded_model.hpp"
#include "train/dry_run.hpp"
#include "train/run.hpp"

namespace hrm::app {
namespace {

using train::RunOptions;

constexpr const char* usage_text =
    "hrm train --config FILE [--set section.key=value …] [--resume auto|latest|FILE]\n"
    "Trains a model; run it under mpirun or srun for several ranks. Every key of --config and --set is listed by\n"
    "hrm train --keys; exit code 75 means: stopped on request, run me again with --resume auto.";

po::options_description options_of_train() {
  po::options_description options("options");
  add_config_options(options);
  auto add = options.add_options();
  add("resume", po::value<std::string>()->value_name("auto|latest|FILE"),
      "go on from a checkpoint: auto starts a new run where there is none");
  add("init-from", po::value<std::string>()->value_name("FILE"), "a new run that starts from a checkpoint's weights");
  add("weights", po::value<std::string>()->value_name("ema|raw"),
      "which of them --init-from takes; default: ema where there is one");
  add("stop-after", po::value<std::int64_t>()->default_value(0)->value_name("STEP"),
      "save and stop with 75 after this step");
  add("dry-run",
      "check what the run would check, print what every rank would do and hold, and exit; nothing is written");
  add("ranks", po::value<int>()->value_name("N"), "pretended ranks of --dry-run; default: those there are");
  add("print-config", "print the resolved configuration with the origin of every value and exit");
  add("keys", "list every configuration key with its default, range and meaning and exit");
  return options;
}

RunOptions run_options(const po::variables_map& values) {
  RunOptions options;
  if (values.count("resume") > 0) {
    const auto how = values["resume"].as<std::string>();
    options.resume = how == "auto"     ? RunOptions::Resume::automatic
                     : how == "latest" ? RunOptions::Resume::latest
                                       : RunOptions::Resume::file;
    options.resume_file = options.resume == RunOptions::Resume::file ? how : "";
  }
  options.init_from = text_or_empty(values, "init-from");
  options.init_weights = text_or_empty(values, "weights");
  infer::weights_kind(options.init_weights);  // refuses what it does not know before anything is opened
  if (values.count("weights") > 0 && values.count("init-from") == 0) {
    fail(ExitCode::usage, "--weights says which weights --init-from takes; give --init-from FILE too");
  }
  options.stop_after = values["stop-after"].as<std::int64_t>();
  if (options.stop_after < 0) {
    fail(ExitCode::usage, "--stop-after {}: give a step number above 0", options.stop_after);
  }
  if (!options.init_from.empty() && options.resume == RunOptions::Resume::file) {
    fail(ExitCode::usage, "--init-from starts a new run, --resume FILE goes on with one: give one of them");
  }
  return options;
}

/// Of the plan; `actual` where no number is given.
int pretended_ranks(const po::variables_map& values, int actual) {
  if (values.count("ranks") == 0) {
    return actual;
  }
  if (values.count("dry-run") == 0) {
    fail(ExitCode::usage, "--ranks plans for pretended ranks; add --dry-run, or start that many with mpirun or srun");
  }
  const int ranks = values["ranks"].as<int>();
  if (ranks < 1) {
    fail(ExitCode::usage, "--ranks {}: give at least 1", ranks);
  }
  return ranks;
}

void print_text(const std::string& text) {
  if (log::rank() == 0) {
    output::write(text);
  }
}

}  // namespace

int run_train(Arguments args, comm::Communicator& world) {
  const auto values = parse_options(args, usage_text, options_of_train());
  if (!values) {
    return 0;
  }
  if (values->count("keys") > 0) {
    print_text(config::describe_fields());
    return 0;
  }
  const RunOptions options = run_options(*values);
  const int ranks = pretended_ranks(*values, world.size());
  const config::Resolved resolved = resolve_config(world, *values);
  if (values->count("print-config") > 0) {
    if (log::rank() == 0) {
      print_text(config::print(resolved));
    }
    return 0;
  }
  set_threads(world, resolved.config.device.threads);
  if (values->count("dry-run") > 0) {
    print_text(train::dry_run(world, resolved.config, options, ranks));
    return 0;
  }
  announce_ranks(world, static_cast<int>(resolved.config.parallel.tensor));
  return static_cast<int>(train::train(world, resolved.config, options));
}

}  // namespace hrm::app
