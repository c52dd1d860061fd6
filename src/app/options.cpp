#include "app/options.hpp"

#include <sstream>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/output.hpp"
#include "comm/use_device.hpp"
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

po::variables_map parsed(Arguments args, const po::options_description& options, const std::string& positional) {
  po::positional_options_description words;
  if (!positional.empty()) {
    words.add(positional.c_str(), -1);
  }
  namespace style = po::command_line_style;
  // No guessing: an abbreviated option would change its meaning when another option is added.
  const int flags = style::default_style & ~style::allow_guessing;
  po::variables_map values;
  po::store(
      po::command_line_parser(Strings(args.begin(), args.end())).options(options).positional(words).style(flags).run(),
      values);
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
  all.add_options()("help,h", "print this text and end");
  if (asks_for_help(args)) {
    print_help(usage, all);
    return std::nullopt;
  }
  const std::string command = usage.substr(0, usage.find_first_of(" \n", usage.find(' ') + 1));
  try {
    return parsed(args, all, positional);
  } catch (const po::unknown_option& error) {
    const std::string name = error.get_option_name();
    fail(ExitCode::usage, "unknown option {}; the nearest is {}, and {} --help lists all", name,
         nearest_option(name, all), command);
  } catch (const po::too_many_positional_options_error&) {
    fail(ExitCode::usage, "a word without an option; {} --help lists the options", command);
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

void add_config_options(po::options_description& options) {
  options.add_options()("config", po::value<Strings>()->composing()->value_name("FILE"),
                        "configuration file (INI); repeatable, later files win")(
      "set", po::value<Strings>()->composing()->value_name("section.key=value"),
      "one configuration value; repeatable, wins over files and environment");
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
