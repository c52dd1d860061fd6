#include "text/sample.hpp"

#include <algorithm>

#include "base/text.hpp"
#include "io/jsonl_object.hpp"

namespace hrm::text {
namespace {

std::uint32_t condition_tag(std::string_view name, const SpecialRoles& roles, const std::string& place, ExitCode code) {
  if (name == "direct") {
    return roles.direct;
  }
  if (name == "cot") {
    return roles.cot;
  }
  if (name == "noisy") {
    return roles.noisy;
  }
  if (name == "synth") {
    return roles.synth;
  }
  fail(code, "{}: the condition \"{}\" is unknown; use direct, cot, noisy or synth", place, name);
}

/// The stratum that the line names. A stratum without a name could be asked for neither in data.sampling nor in the
/// metrics.
std::optional<std::string> given_source(const nlohmann::json& object, const std::string& place) {
  std::optional<std::string> source = io::optional_string(object, "source", place);
  if (source && source->find('\0') != std::string::npos) {
    fail(ExitCode::bad_data, "{}: the field \"source\" holds a zero character; remove it", place);
  }
  return source && source->empty() ? std::nullopt : source;
}

}  // namespace

std::vector<std::uint32_t> condition_tags(std::string_view conditions, const SpecialRoles& roles,
                                          const std::string& place, ExitCode code) {
  std::vector<std::uint32_t> tags;
  for (std::size_t at = 0; at <= conditions.size();) {
    const std::size_t end = std::min(conditions.find(',', at), conditions.size());
    tags.push_back(condition_tag(trimmed(conditions.substr(at, end - at)), roles, place, code));
    at = end + 1;
  }
  return tags;
}

void append_instruction(const Tokenizer& tokenizer, const SpecialRoles& roles, const std::vector<std::uint32_t>& tags,
                        std::string_view instruction, std::vector<std::uint32_t>& tokens) {
  tokens.push_back(roles.begin);
  tokens.insert(tokens.end(), tags.begin(), tags.end());
  tokenizer.encode(instruction, SpecialTokens::plain, tokens);
  tokens.push_back(roles.end_of_instruction);
}

SampleMaker::SampleMaker(const Tokenizer& tokenizer, std::int64_t context, Overlong overlong)
    : tokenizer_(tokenizer), roles_(roles(tokenizer)), context_(context), overlong_(overlong) {}

SampleMaker::Made SampleMaker::make(std::string_view line, const std::string& place,
                                    std::vector<std::uint32_t>& tokens) const {
  const nlohmann::json object = io::parse_jsonl_object(line, place);
  const std::string instruction = io::required_string(object, "instruction", place);
  const std::string response = io::required_string(object, "response", place);
  const std::string conditions = io::optional_string(object, "condition", place).value_or("direct");
  const std::vector<std::uint32_t> tags = condition_tags(conditions, roles_, place);
  Made made;
  made.source = given_source(object, place);
  const std::size_t start = tokens.size();
  append_instruction(tokenizer_, roles_, tags, instruction, tokens);
  const std::size_t answer = tokens.size();
  tokenizer_.encode(response, SpecialTokens::plain, tokens);
  if (tokens.size() == answer) {
    tokens.resize(start);
    fail(ExitCode::bad_data, "{}: the response is empty; remove the line or give a response", place);
  }
  tokens.push_back(roles_.end_of_answer);
  made.instruction_length = static_cast<std::uint32_t>(answer - start);
  made.response_length = static_cast<std::uint32_t>(tokens.size() - answer);
  fit(made, place, tokens);
  return made;
}

void SampleMaker::fit(Made& made, const std::string& place, std::vector<std::uint32_t>& tokens) const {
  const std::int64_t instruction = made.instruction_length;
  const std::int64_t response = made.response_length;
  if (instruction + response - 1 <= context_) {
    return;
  }
  const std::size_t start = tokens.size() - static_cast<std::size_t>(instruction + response);
  if (overlong_ == Overlong::error) {
    tokens.resize(start);
    fail(ExitCode::bad_data,
         "{}: the sample takes {} positions and the context has {}; shorten it, raise --context, or choose --overlong "
         "truncate or drop",
         place, instruction + response - 1, context_);
  }
  const std::int64_t room = context_ + 1 - instruction;
  made.truncated = overlong_ == Overlong::truncate && room > 0;
  made.response_length = made.truncated ? static_cast<std::uint32_t>(room) : 0;
  tokens.resize(made.truncated ? start + static_cast<std::size_t>(context_ + 1) : start);
}

}  // namespace hrm::text
