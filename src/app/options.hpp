#pragma once
// What every command does with its options: Boost.Program_options with one wording of errors and help.
#include <boost/program_options.hpp>
#include <optional>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "comm/grid.hpp"
#include "config/resolve.hpp"

namespace hrm::app {

namespace po = boost::program_options;

/// Parses `args`. Adds --help: then prints `usage` (one or more lines, the first "hrm COMMAND …") and the options to
/// standard output (rank 0) and returns nothing: the command returns 0. `positional` names the option that takes words
/// without a dash, empty for none. InputError(usage) naming the nearest option.
std::optional<po::variables_map> parse_options(Arguments args, const std::string& usage,
                                               const po::options_description& options,
                                               const std::string& positional = "");

/// The value of an option that must be given; InputError(usage) naming it.
std::string required(const po::variables_map& values, const std::string& option);

/// Adds --config FILE (repeatable) and --set section.key=value (repeatable).
void add_config_options(po::options_description& options);

/// Collective: rank 0 resolves --config, environment and --set over `base` (a stored configuration text, may be empty)
/// and prints the warnings; every rank receives the same configuration. Origins are known on rank 0 only.
config::Resolved resolve_config(comm::Communicator& world, const po::variables_map& values,
                                const std::string& base = "", const std::string& base_name = "checkpoint");

/// Collective: the ranks as `config` lays them out, on the device that it names.
comm::Grid given_grid(comm::Communicator& world, const config::RunConfig& config);

}  // namespace hrm::app
