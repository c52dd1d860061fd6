#include "io/status.hpp"

#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace hrm::io {
namespace {

constexpr const char* status_name = "status.json";

nlohmann::json text_or_null(const std::string& text) {
  return text.empty() ? nlohmann::json(nullptr) : nlohmann::json(text);
}

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::int64_t integer_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

}  // namespace

std::string state_of_exit(int exit_code) {
  switch (static_cast<ExitCode>(exit_code)) {
    case ExitCode::ok:
      return "finished";
    case ExitCode::stopped:
      return "stopped";
    case ExitCode::lost_peer:
      return "lost_peer";
    default:
      return "failed";
  }
}

void write_status(const std::filesystem::path& folder, Status status, bool durable, std::string_view tag) {
  nlohmann::ordered_json object;
  object["state"] = status.state;
  object["exit_code"] = status.exit_code ? nlohmann::ordered_json(*status.exit_code) : nlohmann::ordered_json(nullptr);
  object["step"] = status.step;
  object["planned_steps"] = status.planned_steps;
  object["last_checkpoint"] = text_or_null(status.last_checkpoint);
  object["eta"] = text_or_null(status.eta);
  object["reason"] = text_or_null(status.reason);
  object["suspect_hosts"] = text_or_null(status.suspect_hosts);
  object["job_id"] = text_or_null(status.job_id);
  object["host"] = status.host.empty() ? host_name() : status.host;
  object["run_id"] = text_or_null(status.run_id);
  object["updated_at"] = utc_now();
  const std::string text = object.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
  replace_file(folder / status_name, text, durable, tag);
}

std::optional<Status> read_status(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / status_name;
  if (!std::filesystem::is_regular_file(path)) {
    return std::nullopt;
  }
  const nlohmann::json object = nlohmann::json::parse(read_text(path), nullptr, false);
  if (!object.is_object()) {
    return std::nullopt;
  }
  Status status;
  status.run_id = text_of(object, "run_id");
  status.state = text_of(object, "state");
  const auto code = object.find("exit_code");
  if (code != object.end() && code->is_number_integer()) {
    status.exit_code = code->get<int>();
  }
  status.step = integer_of(object, "step");
  status.planned_steps = integer_of(object, "planned_steps");
  status.last_checkpoint = text_of(object, "last_checkpoint");
  status.eta = text_of(object, "eta");
  status.reason = text_of(object, "reason");
  status.suspect_hosts = text_of(object, "suspect_hosts");
  status.job_id = text_of(object, "job_id");
  status.host = text_of(object, "host");
  status.updated_at = text_of(object, "updated_at");
  return status;
}

}  // namespace hrm::io
