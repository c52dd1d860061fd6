#include "app/options.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/output.hpp"
#include "comm/use_device.hpp"
#include "config/fields.hpp"
#include "config/nearest.hpp"

namespace hrm::app {
namespace {

using Strings = std::vector<std::string>;

std::string nearest_option(const std::string& given, const po::options_description& options) {
  Strings names;
  for (const auto& option : options.options()) {
    names.push_back("--" + option->long_name());
  }
  return config::nearest(given, names);
}

po::variables_map parsed(Arguments args, const po::options_description& options, const std::string& positional,
                         const std::string& command) {
  po::command_line_parser parser(Strings(args.begin(), args.end()));
  po::positional_options_description words;
  if (!positional.empty()) {
    words.add(positional.c_str(), -1);
    parser.positional(words);
  }
  namespace style = po::command_line_style;
  // No guessing: an abbreviated option would change its meaning when another option is added.
  const int flags = style::default_style & ~style::allow_guessing;
  const po::parsed_options found = parser.options(options).style(flags).run();
  for (const po::option& option : found.options) {
    if (option.string_key.empty()) {
      fail(ExitCode::usage, "'{}' belongs to no option; {} --help lists the options", option.value.front(), command);
    }
  }
  po::variables_map values;
  po::store(found, values);
  po::notify(values);
  return values;
}

void print_help(const std::string& usage, const po::options_description& options) {
  if (log::rank() != 0) {
    return;
  }
  std::ostringstream text;
  text << "usage: " << usage << "\n\n" << options;
  output::write(text.str());
}

bool asks_for_help(Arguments args) {
  for (const std::string& arg : args) {
    if (arg == "--help" || arg == "-h") {
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<po::variables_map> parse_options(Arguments args, const std::string& usage,
                                               const po::options_description& options, const std::string& positional) {
  po::options_description all("options");
  for (const auto& option : options.options()) {
    all.add(option);
  }
  all.add_options()("allow-single", "permit one rank in a step of several tasks")("help,h", "print this text and end");
  if (asks_for_help(args)) {
    print_help(usage, all);
    return std::nullopt;
  }
  const std::string command = usage.substr(0, usage.find_first_of(" \n", usage.find(' ') + 1));
  try {
    return parsed(args, all, positional, command);
  } catch (const po::unknown_option& error) {
    const std::string name = error.get_option_name();
    fail(ExitCode::usage, "unknown option {}; the nearest is {}, and {} --help lists all", name,
         nearest_option(name, all), command);
  } catch (const po::error& error) {
    fail(ExitCode::usage, "{}; {} --help lists the options", error.what(), command);
  }
}

std::string required(const po::variables_map& values, const std::string& option) {
  if (values.count(option) == 0) {
    fail(ExitCode::usage, "--{} is missing; give it", option);
  }
  return values[option].as<std::string>();
}

std::string text_or_empty(const po::variables_map& values, const std::string& option) {
  return values.count(option) == 0 ? "" : values[option].as<std::string>();
}

std::int64_t at_least(const po::variables_map& values, const std::string& option, std::int64_t least) {
  const auto value = values[option].as<std::int64_t>();
  if (value < least) {
    fail(ExitCode::usage, "--{} {} is too small; give at least {}", option, value, least);
  }
  return value;
}

void add_config_options(po::options_description& options) {
  options.add_options()("config", po::value<Strings>()->composing()->value_name("FILE"),
                        "configuration file (INI); repeatable, later files win")(
      "set", po::value<Strings>()->composing()->value_name("section.key=value"),
      "one configuration value; repeatable, wins over files and environment");
}

void add_set_option(po::options_description& options, const Keys& keys) {
  const std::string help = fmt::format("one configuration value ({}); repeatable", fmt::join(keys, ", "));
  options.add_options()("set", po::value<Strings>()->composing()->value_name("section.key=value"), help.c_str());
}

void check_set_keys(const po::variables_map& values, const Keys& keys) {
  const std::vector<std::string> known = config::known_keys();
  for (const std::string& assignment : values.count("set") != 0 ? values["set"].as<Strings>() : Strings()) {
    const std::string key = assignment.substr(0, assignment.find('='));
    const std::string section = key.substr(0, key.find('.')) + ".*";
    const bool taken =
        std::any_of(keys.begin(), keys.end(), [&](const std::string& one) { return one == key || one == section; });
    if (!taken && std::find(known.begin(), known.end(), key) != known.end()) {
      fail(ExitCode::bad_config, "--set {}: the command does not use {}; it takes {}", assignment, key,
           fmt::join(keys, ", "));
    }
  }
}

config::Resolved resolve_config(comm::Communicator& world, const po::variables_map& values, const std::string& base,
                                const std::string& base_name) {
  config::Resolved resolved;
  std::string text;
  comm::together(world, [&] {
    if (world.rank() != 0) {
      return;
    }
    config::Sources sources;
    sources.base = base;
    sources.base_name = base_name;
    sources.files = values.count("config") != 0 ? values["config"].as<Strings>() : Strings();
    sources.environment = config::hrm_environment();
    sources.sets = values.count("set") != 0 ? values["set"].as<Strings>() : Strings();
    resolved = config::resolve(sources);
    text = config::to_text(resolved.config);
  });
  for (const std::string& warning : resolved.warnings) {
    log::warn("{}", warning);
  }
  resolved.config = config::from_text(comm::broadcast_text(world, text), "configuration of rank 0");
  return resolved;
}

comm::Grid given_grid(comm::Communicator& world, const config::RunConfig& config) {
  comm::Grid grid = comm::make_grid(world, config.parallel.tensor);
  comm::use_device(grid, comm::choose_device(world, config.device.type), config.watchdog.least_seconds);
  return grid;
}

}  // namespace hrm::app
