#include "app/options.hpp"
#include "app/threads.hpp"
#include "base/error.hpp"
#include "validate/validate.hpp"

namespace hrm::app {
namespace {

const Keys validation_keys = {"parallel.*",  "train.deterministic", "train.recompute",
                              "device.type", "device.threads",      "watchdog.least_seconds"};

constexpr const char* usage =
    "hrm validate FILE… [--precision fp32|bf16] [--tolerance X] [--set parallel.tensor=N …]\n\n"
    "Replays golden files (model cases, decoding, ranks, single operations, optimizer, multipack, schedules; told "
    "apart\n"
    "by their content) and prints for every quantity\n"
    "  FILE quantity max_relative_error limit PASS|FAIL\n"
    "with the largest difference over the largest expected magnitude. Exit code 0 only if all hold, else 1.\n\n"
    "Under mpirun files of models run as training runs them. parallel.tensor ranks share the model: it divides heads,\n"
    "intermediate size and vocabulary. The groups of them share the packs of the file: a model case has one, so all\n"
    "ranks are one group; a file of N packs runs on up to N groups. Every group decodes all prompts. Other layouts\n"
    "end with exit code 78. parallel.zero, parallel.sequence, parallel.overlap, train.deterministic, train.recompute\n"
    "count too. Files without a model run on every rank. Each line tells the error of the worst rank.\n\n"
    "Limits: fp32 1e-5, gradients 2e-5; whole numbers exactly; schedules 1e-11. bf16, u = 2^-8: single operations 3 "
    "u,\n"
    "gradients 10 u; models 6 u sqrt(n/3), gradients 12 u sqrt(n/3), n = roundings on the longest path (10 for each "
    "layer\n"
    "of each stack call, 3 for each call); counts of predictions only where the file's smallest margin exceeds twice\n"
    "the limit; weights after three updates also 2 learning rates for each update, since the direction of a rounding "
    "error\n"
    "may be all that a gradient consists of. Optimizer, multipack and schedules do not depend on the precision.";

Precision chosen_precision(const po::variables_map& values) {
  const auto name = values["precision"].as<std::string>();
  if (name != "fp32" && name != "bf16") {
    fail(ExitCode::usage, "--precision {}: must be fp32 or bf16", name);
  }
  return name == "bf16" ? Precision::bf16 : Precision::fp32;
}

double chosen_tolerance(const po::variables_map& values) {
  const double tolerance = values.count("tolerance") != 0 ? values["tolerance"].as<double>() : 0;
  if (values.count("tolerance") != 0 && !(tolerance > 0)) {
    fail(ExitCode::usage, "--tolerance {}: must be positive", tolerance);
  }
  return tolerance;
}

}  // namespace

int run_validate(Arguments args, comm::Communicator& world) {
  po::options_description options;
  options.add_options()("precision", po::value<std::string>()->default_value("fp32")->value_name("fp32|bf16"),
                        "compute type")("tolerance", po::value<double>()->value_name("X"),
                                        "limit of every real quantity instead of the ones above")(
      "file", po::value<std::vector<std::string>>()->value_name("FILE"), "golden file; the same as the word alone");
  add_set_option(options, validation_keys);
  const auto values = parse_options(args, usage, options, "file");
  if (!values) {
    return 0;
  }
  if (values->count("file") == 0) {
    fail(ExitCode::usage, "no file; hrm validate FILE…");
  }
  validate::Report report(world, chosen_precision(*values), chosen_tolerance(*values));
  check_set_keys(*values, validation_keys);
  const config::RunConfig config = resolve_config(world, *values).config;
  set_threads(world, config.device.threads);
  comm::Grid grid = given_grid(world, config);
  for (const std::string& file : (*values)["file"].as<std::vector<std::string>>()) {
    validate::validate_file(file, {grid, config}, report);
  }
  return static_cast<int>(report.passed() ? ExitCode::ok : ExitCode::check_failed);
}

}  // namespace hrm::app
