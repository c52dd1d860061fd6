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
/// standard output (rank 0) and returns nothing: the command returns 0. Lists --allow-single too, which main has taken
/// out (run_command.hpp). `positional` names the option that takes words without a dash, empty for none.
/// InputError(usage) naming the nearest option, or the word that belongs to none.
std::optional<po::variables_map> parse_options(Arguments args, const std::string& usage,
                                               const po::options_description& options,
                                               const std::string& positional = "");

/// The value of an option that must be given; InputError(usage) naming it.
std::string required(const po::variables_map& values, const std::string& option);

/// The value of a text option, empty where it is not given.
std::string text_or_empty(const po::variables_map& values, const std::string& option);

/// The value of a whole-number option; InputError(usage) below `least`.
std::int64_t at_least(const po::variables_map& values, const std::string& option, std::int64_t least);

/// Adds --config FILE (repeatable) and --set section.key=value (repeatable).
void add_config_options(po::options_description& options);

/// What a command takes by --set: "section.key", or "section.*" for a whole section.
using Keys = std::vector<std::string>;

/// Adds --set section.key=value (repeatable) for a command that takes these keys alone.
void add_set_option(po::options_description& options, const Keys& keys);

/// InputError(bad_config) naming `keys` where --set gives a known key that is none of them.
void check_set_keys(const po::variables_map& values, const Keys& keys);

/// Collective: rank 0 resolves --config, environment and --set over `base` (a stored configuration text, may be empty)
/// and prints the warnings; every rank receives the same configuration. Origins are known on rank 0 only.
config::Resolved resolve_config(comm::Communicator& world, const po::variables_map& values,
                                const std::string& base = "", const std::string& base_name = "checkpoint");

/// Collective: the ranks as `config` lays them out, on the device that it names.
comm::Grid given_grid(comm::Communicator& world, const config::RunConfig& config);

}  // namespace hrm::app
