// hrm inspect: what files hold, whether they are whole, how two differ.
#include <cmath>
#include <nlohmann/json.hpp>

#include "app/options.hpp"
#include "base/error.hpp"
#include "base/output.hpp"
#include "io/inspect.hpp"

namespace hrm::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* usage =
    "hrm inspect FILE… [--verify] [--json]\n"
    "hrm inspect --diff A B [--json]\n"
    "Shows what is in a shard, checkpoint or metrics file.";

po::options_description inspect_options() {
  po::options_description options("Options");
  options.add_options()  //
      ("file", po::value<std::vector<std::string>>()->default_value({}, "")->value_name("FILE…"),
       "files to look at")                                                                             //
      ("verify", po::bool_switch(), "recompute every digest; 65 naming the first that differs")        //
      ("diff", po::bool_switch(), "compare two files byte for byte; 0: the same state, 1: different")  //
      ("json", po::bool_switch(), "one JSON object a file (or of the comparison) on standard output");
  return options;
}

void print(const Json& object) {
  output::print("{}\n", object.dump(2, ' ', false, Json::error_handler_t::replace));
}

Json to_json(const io::Difference& difference) {
  Json row = {{"path", difference.path}, {"what", difference.what}, {"count", difference.count}};
  row["largest"] = std::isfinite(difference.largest) ? Json(difference.largest) : Json(nullptr);
  row["counts"] = difference.counts;
  return row;
}

int diff(const std::string& a, const std::string& b, bool json) {
  const io::Comparison comparison = io::compare_files(a, b);
  Json rows = Json::array();
  for (const io::Difference& difference : comparison.differences) {
    rows.push_back(to_json(difference));
    if (!json) {
      output::print("{}: {}, {} elements, largest difference {}{}\n", difference.path, difference.what,
                    difference.count, difference.largest, difference.counts ? "" : " (not part of the state)");
    }
  }
  if (json) {
    print({{"same", comparison.same}, {"differences", rows}});
  } else {
    output::print("{}\n", comparison.same ? "same" : "different");
  }
  return comparison.same ? 0 : static_cast<int>(ExitCode::check_failed);
}

void verify(const std::string& file, bool json) {
  const std::int64_t count = io::verify_file(file);
  if (json) {
    print({{"file", file}, {"verified", true}, {"datasets", count}});
  } else {
    output::print("{}: all {} data sets and the file match their digests\n", file, count);
  }
}

void show(const std::string& file, bool json) {
  const Json description = io::describe(file);
  if (json) {
    print(description);
  } else {
    output::print("{}", io::describe_text(description));
  }
  if (description.contains("damage")) {
    fail(ExitCode::bad_data, "{}", description["damage"].get<std::string>());
  }
}

}  // namespace

int run_inspect(Arguments args) {
  const auto values = parse_options(args, usage, inspect_options(), "file");
  if (!values) {
    return 0;
  }
  const auto& files = (*values)["file"].as<std::vector<std::string>>();
  const bool json = (*values)["json"].as<bool>();
  if ((*values)["diff"].as<bool>()) {
    if (files.size() != 2) {
      fail(ExitCode::usage, "inspect --diff takes two files, {} given; write hrm inspect --diff A B", files.size());
    }
    return diff(files[0], files[1], json);
  }
  if (files.empty()) {
    fail(ExitCode::usage, "inspect takes at least one file; write hrm inspect FILE");
  }
  for (const std::string& file : files) {
    (*values)["verify"].as<bool>() ? verify(file, json) : show(file, json);
  }
  return 0;
}

}  // namespace hrm::app
