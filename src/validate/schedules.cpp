// Learning rate, backward horizon and its split (golden C.7).
#include "optim/schedule.hpp"

#include "model/unroll.hpp"
#include "validate/cases.hpp"
#include "validate/json_file.hpp"

namespace hrm::validate {
namespace {

using Ints = std::vector<std::int64_t>;
using Entries = nlohmann::json::array_t;

/// Schedules are computed in double in every precision (golden D: float64 limit).
constexpr double limit = 1e-11;

/// One entry of a list with its place for messages.
struct Entry {
  const std::string& file;
  std::string place;
  const nlohmann::json& content;

  template <class T>
  T get(const std::string& name) const {
    return member<T>(file, place, content, name);
  }
  std::int64_t integer(const std::string& name) const { return get<std::int64_t>(name); }
};

void require_same_size(const Entry& entry, std::size_t steps, std::size_t expected) {
  if (steps != expected || steps == 0) {
    fail(ExitCode::bad_data, "{}: {}: \"steps\" and \"expected\" must have the same length, at least 1", entry.file,
         entry.place);
  }
}

void validate_rate(const Entry& entry, Report& report) {
  const Ints steps = entry.get<Ints>("steps");
  const auto expected = entry.get<std::vector<double>>("expected");
  require_same_size(entry, steps.size(), expected.size());
  std::vector<double> computed;
  for (const std::int64_t step : steps) {
    computed.push_back(optim::learning_rate(step, entry.get<double>("lr"), entry.integer("lr_warmup_steps"),
                                            entry.integer("total_steps"), entry.get<double>("lr_min_ratio")));
  }
  report.reals(entry.place, computed, expected, limit);
}

void validate_horizon(const Entry& entry, Report& report) {
  const Ints steps = entry.get<Ints>("steps");
  const Ints expected = entry.get<Ints>("expected");
  require_same_size(entry, steps.size(), expected.size());
  Ints computed;
  for (const std::int64_t step : steps) {
    computed.push_back(optim::backward_steps(step, entry.integer("total_steps"), entry.integer("bp_min_steps"),
                                             entry.integer("bp_max_steps"), entry.get<double>("bp_warmup_ratio")));
  }
  report.counts(entry.place, computed, expected);
}

void validate_split(const Entry& entry, Report& report) {
  const auto split = model::split_backward_steps(entry.integer("H_cycles"), entry.integer("bp_steps"));
  const Ints computed{split.h, split.l};
  const Ints expected{entry.integer("H_bp_steps"), entry.integer("L_bp_steps")};
  report.counts(entry.place, computed, expected);
}

void validate_list(const std::string& file, const nlohmann::json& content, const std::string& name,
                   void (*validate)(const Entry&, Report&), Report& report) {
  const auto entries = member<Entries>(file, "file", content, name);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    validate({file, fmt::format("{}/{}", name, i), entries[i]}, report);
  }
}

}  // namespace

void validate_schedules(const std::string& file, const nlohmann::json& content, Report& report) {
  validate_list(file, content, "lr", validate_rate, report);
  validate_list(file, content, "bp_steps", validate_horizon, report);
  validate_list(file, content, "bp_split", validate_split, report);
}

}  // namespace hrm::validate
