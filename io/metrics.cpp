#include "io/metrics.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "base/error.hpp"
#include "base/version.hpp"
#include "io/format.hpp"
#include "io/integrity.hpp"
#include "io/jsonl_object.hpp"
#include "io/metrics_columns.hpp"
#include "io/user_block.hpp"

namespace hrm::io {
namespace {

using Json = nlohmann::json;
using Rows = std::vector<const Json*>;

constexpr double publish_seconds = 60;

constexpr std::array<ColumnSpec, 21> train_specs = {{
    {"step", ColumnKind::integer},
    {"epoch", ColumnKind::real},
    {"tokens", ColumnKind::integer},
    {"loss", ColumnKind::real},
    {"accuracy", ColumnKind::real},
    {"exact_accuracy", ColumnKind::real},
    {"learning_rate", ColumnKind::real},
    {"bp_steps", ColumnKind::integer},
    {"gradient_norm", ColumnKind::real},
    {"state_digest", ColumnKind::digest},
    {"seconds", ColumnKind::real},
    {"tokens_per_second", ColumnKind::real},
    {"model_flops_utilization", ColumnKind::real},
    {"seconds_data", ColumnKind::real},
    {"seconds_forward", ColumnKind::real},
    {"seconds_backward", ColumnKind::real},
    {"seconds_communication", ColumnKind::real},
    {"seconds_optimizer", ColumnKind::real},
    {"seconds_checkpoint", ColumnKind::real},
    {"memory_bytes", ColumnKind::real},
    {"packing_efficiency", ColumnKind::real},
}};

constexpr std::array<ColumnSpec, 4> event_specs = {{
    {"time", ColumnKind::text},
    {"step", ColumnKind::integer},
    {"kind", ColumnKind::text},
    {"text", ColumnKind::text},
}};

constexpr std::array<ColumnSpec, 11> job_specs = {{
    {"job_id", ColumnKind::text},
    {"restart", ColumnKind::integer},
    {"hosts", ColumnKind::text},
    {"data_parallel", ColumnKind::integer},
    {"tensor_parallel", ColumnKind::integer},
    {"threads", ColumnKind::integer},
    {"start", ColumnKind::text},
    {"end", ColumnKind::text},
    {"first_step", ColumnKind::integer},
    {"last_step", ColumnKind::integer},
    {"seconds_lost", ColumnKind::real},
}};

std::string record_of(const Json& row) {
  return row.value("record", "");
}

Rows select(const std::vector<Json>& rows, const std::string& record) {
  Rows chosen;
  for (const Json& row : rows) {
    if (record_of(row) == record) {
      chosen.push_back(&row);
    }
  }
  return chosen;
}

template <std::size_t N>
void write_table(h5::File& file, const std::string& group, const std::array<ColumnSpec, N>& specs, const Rows& rows) {
  for (const ColumnSpec& spec : specs) {
    write_column(file, group, spec.name, spec.kind, rows);
  }
}

ColumnKind kind_of_eval_column(const std::string& name, const Rows& rows) {
  const bool text = std::ranges::any_of(rows, [&](const Json* row) {
    const auto found = row->find(name);
    return found != row->end() && found->is_string();
  });
  return text ? ColumnKind::text : name == "step" ? ColumnKind::integer : ColumnKind::real;
}

/// One group per evaluation's name; its columns are whatever its rows have.
void write_evaluations(h5::File& file, const Rows& rows) {
  file.create_group("/eval");
  std::map<std::string, Rows> by_name;
  for (const Json* row : rows) {
    by_name[object_name(row->value("name", "eval"))].push_back(row);
  }
  for (const auto& [name, own] : by_name) {
    std::set<std::string> columns;
    for (const Json* row : own) {
      for (const auto& item : row->items()) {
        columns.insert(item.key());
      }
    }
    columns.erase("record");
    columns.erase("name");
    for (const std::string& column : columns) {
      write_column(file, "/eval/" + name, column, kind_of_eval_column(column, own), own);
    }
  }
}

/// Which start of the program a job record is about. Two starts may share a second.
Json start_of(const Json& row) {
  const auto id = row.find("start_id");
  return id != row.end() ? *id : Json{row.value("start", Json()), row.value("restart", Json())};
}

/// A later job record of the same start updates the earlier one.
std::vector<Json> merge_jobs(const Rows& rows) {
  std::vector<Json> jobs;
  for (const Json* row : rows) {
    const Json start = start_of(*row);
    const auto same = std::ranges::find_if(jobs, [&](const Json& job) { return start_of(job) == start; });
    if (same == jobs.end()) {
      jobs.push_back(*row);
    } else {
      same->update(*row);
    }
  }
  return jobs;
}

/// Offset behind the last line end.
std::int64_t whole_lines(const std::string& text) {
  const std::size_t last = text.rfind('\n');
  return last == std::string::npos ? 0 : static_cast<std::int64_t>(last) + 1;
}

/// Why a line of the journal is no row; null if it is one.
const char* fault(std::string_view line, const Json& row) {
  if (!row.is_object()) {
    return "is no JSON object";
  }
  for (const char* text : {"record", "name"}) {
    if (row.contains(text) && !row[text].is_string()) {
      return "has a record or name that is no text";
    }
  }
  if (row.contains("step") && !row["step"].is_number_integer()) {
    return "has a step that is no whole number";
  }
  return nests_too_deep(line) ? "nests too deep" : nullptr;
}

/// Blocks that never reached the disk when the power failed read as zeros.
bool is_lost(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos || line.find('\0') != std::string_view::npos;
}

std::vector<Json> parse_journal(const std::string& text, const std::filesystem::path& path) {
  const auto end = static_cast<std::size_t>(whole_lines(text));
  std::vector<Json> rows;
  std::int64_t number = 0;
  for (std::size_t at = 0; at < end;) {
    const std::size_t stop = text.find('\n', at);
    const std::string_view line = std::string_view(text).substr(at, stop - at);
    at = stop + 1;
    ++number;
    if (is_lost(line)) {
      continue;
    }
    rows.push_back(Json::parse(line, nullptr, false));
    if (const char* what = fault(line, rows.back())) {
      fail(ExitCode::bad_data, "{}:{}: {}; remove the line", path.string(), number, what);
    }
  }
  return rows;
}

/// Adds a row to those that count, or obeys it where it is a cut.
void add_row(std::vector<Json>& kept, Json row) {
  if (record_of(row) != "cut") {
    kept.push_back(std::move(row));
    return;
  }
  const std::int64_t last = row.value("step", std::int64_t{0});
  std::erase_if(kept, [last](const Json& earlier) {
    const std::string record = record_of(earlier);
    return (record == "train" || record == "eval") && earlier.value("step", std::int64_t{0}) > last;
  });
}

}  // namespace

const std::vector<std::string>& train_columns() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const ColumnSpec& spec : train_specs) {
      list.emplace_back(spec.name);
    }
    return list;
  }();
  return names;
}

std::filesystem::path journal_path(const std::filesystem::path& h5_path) {
  std::filesystem::path path = h5_path;
  return path.replace_extension(".jsonl");
}

MetricsJournal::MetricsJournal(const std::filesystem::path& h5_path, MetricsHeader header)
    : h5_path_(h5_path), header_(std::move(header)), journal_(journal_path(h5_path), RawFile::Mode::append) {
  const std::string text = io::read_text(journal_.path());
  rows_ = apply_cuts(parse_journal(text, journal_.path()));
  if (whole_lines(text) != journal_.size()) {
    journal_.truncate(whole_lines(text));
  }
}

void MetricsJournal::append(Json row) {
  if (record_of(row) == "train") {
    for (const ColumnSpec& spec : train_specs) {
      row.emplace(spec.name, nullptr);  // not measured
    }
  }
  const std::string line = row.dump(-1, ' ', false, Json::error_handler_t::replace);
  add_row(rows_, Json::parse(line));  // as a later start reads it: what is not finite is null
  unwritten_ += line + '\n';
  write_out();
}

void MetricsJournal::write_out() {
  const std::int64_t end = journal_.size();
  try {
    journal_.append(unwritten_);
  } catch (...) {
    journal_.truncate(end);  // no torn line before the next one
    throw;
  }
  unwritten_.clear();
}

void MetricsJournal::sync() {
  journal_.sync();
}

void MetricsJournal::publish() {
  write_out();
  sync();
  build_metrics(h5_path_, rows_, header_);
  since_publish_.restart();
}

void MetricsJournal::publish_if_due() {
  if (since_publish_.seconds() >= publish_seconds) {
    publish();
  }
}

std::vector<Json> read_journal(const std::filesystem::path& path) {
  return parse_journal(io::read_text(path), path);
}

std::vector<Json> apply_cuts(const std::vector<Json>& rows) {
  std::vector<Json> kept;
  for (const Json& row : rows) {
    add_row(kept, row);
  }
  return kept;
}

void build_metrics(const std::filesystem::path& h5_path, const std::vector<Json>& rows, const MetricsHeader& header) {
  const std::filesystem::path temporary = temporary_name(h5_path, replacement_tag);
  const std::vector<Json> jobs = merge_jobs(select(rows, "job"));
  h5::File file = h5::File::create(temporary);
  write_format(file, metrics_format);
  file.set_attribute("created_at", utc_now());
  h5::Location run = file.create_group("/run");
  run.set_attribute("config", header.config_text);
  run.set_attribute("run_id", header.run_id);
  run.set_attribute("program_version", created_by());
  write_table(file, "/train", train_specs, select(rows, "train"));
  write_evaluations(file, select(rows, "eval"));
  write_table(file, "/events", event_specs, select(rows, "event"));
  write_table(file, "/jobs", job_specs, select(jobs, "job"));
  write_integrity(file, all_digests(file));
  file.close();
  write_user_block(*comm::serial_communicator(), temporary);
  publish(temporary, h5_path);
}

}  // namespace hrm::io
