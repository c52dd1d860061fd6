#include "text/tokenizer_file.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "io/jsonl_object.hpp"

namespace hrm::text {
namespace {

using nlohmann::json;

/// A place in the file, for messages: the file's name and the path of the field.
struct Place {
  const std::string& name;
  std::string field;

  Place at(std::string_view key) const {
    return {name, field.empty() ? std::string(key) : fmt::format("{}.{}", field, key)};
  }
  Place at(std::size_t index) const { return {name, fmt::format("{}[{}]", field, index)}; }
  [[noreturn]] void wrong(std::string_view what) const { fail(ExitCode::bad_data, "{}: {}: {}", name, field, what); }
  [[noreturn]] void unsupported(const json& value, std::string_view instead) const {
    wrong(fmt::format("{} is not supported; {}", value.dump().substr(0, 80), instead));
  }
};

const json null_value;

const json& member(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() ? null_value : *found;
}

const json& object_at(const json& object, const char* key, const Place& place) {
  const json& value = member(object, key);
  if (!value.is_object()) {
    place.at(key).wrong("an object is expected; give a complete tokenizer.json");
  }
  return value;
}

bool flag(const json& object, const char* key, bool otherwise, const Place& place) {
  const json& value = member(object, key);
  if (value.is_null()) {
    return otherwise;
  }
  if (!value.is_boolean()) {
    place.at(key).wrong("true or false is expected");
  }
  return value.get<bool>();
}

std::string text_at(const json& value, const Place& place) {
  if (!value.is_string()) {
    place.wrong("a string is expected");
  }
  return value.get<std::string>();
}

std::uint32_t id_at(const json& value, const Place& place) {
  // The highest number stays free, so that "highest id + 1" and "no token" can be told.
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= std::numeric_limits<std::int32_t>::max()) {
    place.wrong("a token id (a whole number from 0) is expected");
  }
  return value.get<std::uint32_t>();
}

std::string type_of(const json& object, const Place& place) {
  return text_at(member(object, "type"), place.at("type"));
}

Normalization read_normalizer(const json& value, const Place& place) {
  if (value.is_null()) {
    return Normalization::none;
  }
  if (!value.is_object() || type_of(value, place) != "NFC") {
    place.unsupported(value, "null and NFC are");
  }
  return Normalization::nfc;
}

void read_byte_level(const json& value, const Place& place, TokenizerFile& file) {
  if (!value.is_object() || type_of(value, place) != "ByteLevel") {
    place.unsupported(value, "the last pre-tokenizer must be ByteLevel");
  }
  file.add_prefix_space = flag(value, "add_prefix_space", true, place);
  file.use_regex = flag(value, "use_regex", true, place);
}

std::string read_split(const json& value, const Place& place) {
  if (!value.is_object() || type_of(value, place) != "Split") {
    place.unsupported(value, "in front of ByteLevel only Split is");
  }
  const json& pattern = member(value, "pattern");
  if (!pattern.is_object() || !pattern.contains("Regex")) {
    place.at("pattern").unsupported(pattern, "{\"Regex\": …} is");
  }
  if (member(value, "behavior") != "Isolated") {
    place.at("behavior").unsupported(member(value, "behavior"), "\"Isolated\" is");
  }
  if (flag(value, "invert", false, place)) {
    place.at("invert").wrong("true is not supported; false is");
  }
  return text_at(pattern["Regex"], place.at("pattern").at("Regex"));
}

void read_pre_tokenizer(const json& value, const Place& place, TokenizerFile& file) {
  if (!value.is_object() || type_of(value, place) != "Sequence") {
    read_byte_level(value, place, file);
    return;
  }
  const Place list_place = place.at("pretokenizers");
  const json& list = member(value, "pretokenizers");
  if (!list.is_array() || list.empty()) {
    list_place.wrong("a list is expected");
  }
  for (std::size_t i = 0; i + 1 < list.size(); ++i) {
    file.split_patterns.push_back(read_split(list[i], list_place.at(i)));
  }
  read_byte_level(list.back(), list_place.at(list.size() - 1), file);
}

void require_byte_level(const json& value, const Place& place) {
  if (!value.is_object() || type_of(value, place) != "ByteLevel") {
    place.unsupported(value, "ByteLevel is");
  }
}

std::pair<std::string, std::string> read_merge(const json& value, const Place& place) {
  if (value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string()) {
    return {value[0].get<std::string>(), value[1].get<std::string>()};
  }
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const std::size_t blank = text.find(' ');
    if (blank != std::string::npos && text.find(' ', blank + 1) == std::string::npos) {
      return {text.substr(0, blank), text.substr(blank + 1)};
    }
  }
  place.wrong("a pair of tokens is expected: \"a b\" or [\"a\", \"b\"]");
}

void require_plain_bpe(const json& model, const Place& place) {
  const json& type = member(model, "type");
  if (!type.is_null() && type != "BPE") {
    place.at("type").unsupported(type, "BPE is");
  }
  for (const char* key : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = member(model, key);
    if (!value.is_null() && value != "" && value != 0.0) {
      place.at(key).unsupported(value, "null is");
    }
  }
  if (flag(model, "byte_fallback", false, place)) {
    place.at("byte_fallback").wrong("true is not supported; false is");
  }
}

void read_model(const json& model, const Place& place, TokenizerFile& file) {
  require_plain_bpe(model, place);
  file.ignore_merges = flag(model, "ignore_merges", false, place);
  for (const auto& [token, id] : object_at(model, "vocab", place).items()) {
    file.vocab.emplace_back(token, id_at(id, place.at("vocab").at(token)));
  }
  const json& merges = member(model, "merges");
  if (!merges.is_array()) {
    place.at("merges").wrong("a list is expected");
  }
  for (std::size_t i = 0; i < merges.size(); ++i) {
    file.merges.push_back(read_merge(merges[i], place.at("merges").at(i)));
  }
}

AddedToken read_added_token(const json& value, const Place& place) {
  if (!value.is_object()) {
    place.wrong("an object is expected");
  }
  AddedToken token;
  token.id = id_at(member(value, "id"), place.at("id"));
  token.content = text_at(member(value, "content"), place.at("content"));
  token.special = flag(value, "special", false, place);
  token.normalized = flag(value, "normalized", !token.special, place);
  token.lstrip = flag(value, "lstrip", false, place);
  token.rstrip = flag(value, "rstrip", false, place);
  if (token.content.empty()) {
    place.at("content").wrong("an empty token is not supported; leave it out");
  }
  if (flag(value, "single_word", false, place)) {
    place.at("single_word").wrong("true is not supported; false is");
  }
  return token;
}

void read_added_tokens(const json& list, const Place& place, TokenizerFile& file) {
  if (list.is_null()) {
    return;
  }
  if (!list.is_array()) {
    place.wrong("a list is expected");
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    file.added_tokens.push_back(read_added_token(list[i], place.at(i)));
  }
}

json parse_json(std::string_view text, const std::string& name) {
  if (io::nests_too_deep(text)) {
    fail(ExitCode::bad_data, "{}: nests more than {} levels deep; give a tokenizer.json", name, io::deepest_json);
  }
  try {
    return json::parse(text);
  } catch (const json::parse_error& error) {
    fail(ExitCode::bad_data, "{}: not valid JSON at byte {}; give a complete tokenizer.json", name, error.byte);
  } catch (const json::out_of_range&) {
    fail(ExitCode::bad_data, "{}: holds a number that is out of range; give a complete tokenizer.json", name);
  }
}

nlohmann::ordered_json byte_level_json() {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", false}};
}

nlohmann::ordered_json pre_tokenizer_json(const TokenizerFile& file) {
  nlohmann::ordered_json steps = nlohmann::ordered_json::array();
  for (const std::string& pattern : file.split_patterns) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  nlohmann::ordered_json last = byte_level_json();
  last["add_prefix_space"] = file.add_prefix_space;
  last["use_regex"] = file.use_regex;
  steps.push_back(last);
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

nlohmann::ordered_json model_json(const TokenizerFile& file) {
  nlohmann::ordered_json vocab = nlohmann::ordered_json::object();
  // Straight into the list: operator[] of ordered_json searches it from the front each time.
  auto& rows = vocab.get_ref<nlohmann::ordered_json::object_t&>();
  for (const auto& [token, id] : file.vocab) {
    rows.push_back({token, id});
  }
  nlohmann::ordered_json merges = nlohmann::ordered_json::array();
  for (const auto& [left, right] : file.merges) {
    merges.push_back({left, right});
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", file.ignore_merges},
          {"vocab", vocab},
          {"merges", merges}};
}

nlohmann::ordered_json added_tokens_json(const TokenizerFile& file) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const AddedToken& token : file.added_tokens) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", false},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

}  // namespace

TokenizerFile parse_tokenizer_file(std::string_view text, const std::string& name) {
  const json root = parse_json(text, name);
  const Place place{name, ""};
  if (!root.is_object()) {
    fail(ExitCode::bad_data, "{}: an object is expected; give a complete tokenizer.json", name);
  }
  for (const char* key : {"truncation", "padding"}) {
    if (!member(root, key).is_null()) {
      place.at(key).unsupported(member(root, key), "null is");
    }
  }
  TokenizerFile file;
  file.normalization = read_normalizer(member(root, "normalizer"), place.at("normalizer"));
  read_pre_tokenizer(member(root, "pre_tokenizer"), place.at("pre_tokenizer"), file);
  if (!member(root, "post_processor").is_null()) {
    require_byte_level(member(root, "post_processor"), place.at("post_processor"));
  }
  require_byte_level(member(root, "decoder"), place.at("decoder"));
  read_model(object_at(root, "model", place), place.at("model"), file);
  read_added_tokens(member(root, "added_tokens"), place.at("added_tokens"), file);
  return file;
}

std::string tokenizer_json(const TokenizerFile& file) {
  const nlohmann::ordered_json nfc = {{"type", "NFC"}};
  const nlohmann::ordered_json root = {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens_json(file)},
      {"normalizer", file.normalization == Normalization::nfc ? nfc : nlohmann::ordered_json()},
      {"pre_tokenizer", pre_tokenizer_json(file)},
      {"post_processor", byte_level_json()},
      {"decoder", byte_level_json()},
      {"model", model_json(file)}};
  return root.dump() + "\n";
}

}  // namespace hrm::text
