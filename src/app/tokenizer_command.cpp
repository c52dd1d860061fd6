// hrm tokenizer train|encode|decode
#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "app/commands.hpp"
#include "app/options.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/output.hpp"
#include "io/disk.hpp"
#include "io/jsonl.hpp"
#include "io/jsonl_object.hpp"
#include "text/tokenizer.hpp"
#include "text/train_tokenizer.hpp"

namespace hrm::app {
namespace {

using text::SpecialTokens;
using text::Tokenizer;

constexpr const char* usage_text =
    "hrm tokenizer train --input FILE… --vocab-size N --out tokenizer.json\n"
    "hrm tokenizer encode --tokenizer FILE (--text TEXT | --input FILE|-) [--jsonl] [--plain]\n"
    "hrm tokenizer decode --tokenizer FILE (--ids \"1 2 3\" | --input FILE|-) [--jsonl] [--skip-special]\n"
    "Byte-level BPE in the tokenizer.json format. `hrm tokenizer ACTION --help` lists an action's options.";

text::BpeOptions bpe_options(const po::variables_map& values) {
  text::BpeOptions options;
  options.vocab_size = values["vocab-size"].as<std::int64_t>();
  const auto fewest = values["min-frequency"].as<std::int64_t>();
  const auto alphabet = values["initial-alphabet"].as<std::string>();
  if (options.vocab_size < 1 || options.vocab_size > (std::int64_t{1} << 24) || fewest < 0) {
    fail(ExitCode::usage, "--vocab-size must lie in 1 … {} and --min-frequency must not be negative; correct them",
         std::int64_t{1} << 24);
  }
  if (alphabet != "all" && alphabet != "none") {
    fail(ExitCode::usage, "--initial-alphabet {} is unknown; give all or none", alphabet);
  }
  options.min_frequency = static_cast<std::uint64_t>(fewest);
  options.special_tokens = values.count("no-special") == 0;
  options.initial_alphabet = alphabet == "all" ? text::InitialAlphabet::all : text::InitialAlphabet::none;
  return options;
}

int run_train(Arguments args) {
  po::options_description known("Options");
  known.add_options()("input", po::value<std::vector<std::string>>()->multitoken()->value_name("FILE…"),
                      "JSONL files with the fields instruction and response (.jsonl, .jsonl.gz, .jsonl.zst); the first "
                      "10,000 characters of each field are used");
  known.add_options()("text-lines", "the files hold plain lines instead; each is a document with its line end");
  known.add_options()("vocab-size", po::value<std::int64_t>()->value_name("N"), "number of tokens in all");
  known.add_options()("min-frequency", po::value<std::int64_t>()->default_value(2)->value_name("N"),
                      "pairs that occur less often are not merged");
  known.add_options()("no-special", "leave out the 31 special tokens (ids 0-30), which `hrm prepare` needs");
  known.add_options()("initial-alphabet", po::value<std::string>()->default_value("all")->value_name("all|none"),
                      "all: every byte gets a token; none: those that occur");
  known.add_options()("out", po::value<std::string>()->value_name("FILE"), "the tokenizer.json to write");
  const auto values = parse_options(args, "hrm tokenizer train --input FILE… --vocab-size N --out FILE", known);
  if (!values) {
    return 0;
  }
  if (values->count("input") == 0 || values->count("vocab-size") == 0) {
    fail(ExitCode::usage, "hrm tokenizer train needs --input FILE… and --vocab-size N; add what is missing");
  }
  const std::filesystem::path out = required(*values, "out");
  const text::BpeOptions options = bpe_options(*values);
  text::TrainingInput input;
  input.text_lines = values->count("text-lines") > 0;
  for (const std::string& file : (*values)["input"].as<std::vector<std::string>>()) {
    input.files.emplace_back(file);
  }
  io::make_folder(std::filesystem::absolute(out).parent_path());

  const text::TokenizerFile trained = text::train_tokenizer(input, options);

  io::replace_file(out, text::tokenizer_json(trained), true);
  const auto size = static_cast<std::int64_t>(trained.vocab.size());
  if (size < options.vocab_size) {
    log::warn("only {} of {} tokens: no further pair occurs {} times; give more text or a smaller --vocab-size", size,
              options.vocab_size, options.min_frequency);
  }
  log::info("{}: {} tokens, {} merges", out.string(), size, trained.merges.size());
  return 0;
}

/// The argument of the option `direct` if it is given, else the content of --input.
std::string given_text(const po::variables_map& values, const std::string& direct) {
  if (values.count(direct) + values.count("input") != 1) {
    fail(ExitCode::usage, "give either --{} or --input FILE (- for standard input)", direct);
  }
  return values.count(direct) > 0 ? values[direct].as<std::string>()
                                  : io::read_decompressed(values["input"].as<std::string>());
}

/// Calls `use(object, place)` for each line of --input.
template <class Use>
void each_object(const po::variables_map& values, Use&& use) {
  io::LineReader reader(required(values, "input"));
  while (const std::optional<std::string_view> line = reader.next()) {
    if (!io::is_blank(*line)) {
      use(io::parse_jsonl_object(*line, reader.place()), reader.place());
    }
  }
}

int run_encode(Arguments args) {
  po::options_description known("Options");
  known.add_options()("tokenizer", po::value<std::string>()->value_name("FILE"), "a tokenizer.json");
  known.add_options()("text", po::value<std::string>()->value_name("TEXT"), "the text itself");
  known.add_options()("input", po::value<std::string>()->value_name("FILE"),
                      "a file with the text, - for standard input");
  known.add_options()("jsonl", "lines {\"text\": …} in, lines {\"ids\": […]} out");
  known.add_options()("plain", "names of special tokens inside the text stay text");
  const auto values =
      parse_options(args, "hrm tokenizer encode --tokenizer FILE (--text TEXT | --input FILE|-)", known);
  if (!values) {
    return 0;
  }
  const Tokenizer tokenizer = Tokenizer::read(required(*values, "tokenizer"));
  const SpecialTokens specials = values->count("plain") > 0 ? SpecialTokens::plain : SpecialTokens::recognise;
  if (values->count("jsonl") > 0) {
    each_object(*values, [&](const nlohmann::json& object, const std::string& place) {
      const auto ids = tokenizer.encode(io::required_string(object, "text", place), specials);
      output::print("{{\"ids\":[{}]}}\n", fmt::join(ids, ","));
    });
  } else {
    output::print("{}\n", fmt::join(tokenizer.encode(given_text(*values, "text"), specials), " "));
  }
  return 0;
}

/// Where ids were given, and what a wrong one is.
struct Place {
  std::string name;
  ExitCode code;
};

[[noreturn]] void not_an_id(const Place& place, std::string_view word, const Tokenizer& tokenizer) {
  fail(place.code, "{}: {} is not the id of a token of {}; ids lie in 0 … {}", place.name, word, tokenizer.name(),
       tokenizer.vocab_size() - 1);
}

std::vector<std::uint32_t> parse_ids(std::string_view text, const Place& place, const Tokenizer& tokenizer) {
  constexpr std::string_view blanks = " \t\r\n,";
  std::vector<std::uint32_t> ids;
  for (std::size_t at = text.find_first_not_of(blanks); at != std::string_view::npos;
       at = text.find_first_not_of(blanks, at)) {
    const std::string_view word = text.substr(at, text.find_first_of(blanks, at) - at);
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size() || !tokenizer.has(id)) {
      not_an_id(place, word, tokenizer);
    }
    ids.push_back(id);
    at += word.size();
  }
  return ids;
}

std::vector<std::uint32_t> ids_field(const nlohmann::json& object, const std::string& place,
                                     const Tokenizer& tokenizer) {
  const auto found = object.find("ids");
  if (found == object.end() || !found->is_array()) {
    fail(ExitCode::bad_data, "{}: the field \"ids\" is missing or not a list; write {{\"ids\": [1, 2]}}", place);
  }
  std::vector<std::uint32_t> ids;
  for (const nlohmann::json& id : *found) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= static_cast<std::uint64_t>(tokenizer.vocab_size()) ||
        !tokenizer.has(id.get<std::uint32_t>())) {
      not_an_id({place, ExitCode::bad_data}, id.dump(), tokenizer);
    }
    ids.push_back(id.get<std::uint32_t>());
  }
  return ids;
}

int run_decode(Arguments args) {
  po::options_description known("Options");
  known.add_options()("tokenizer", po::value<std::string>()->value_name("FILE"), "a tokenizer.json");
  known.add_options()("ids", po::value<std::string>()->value_name("IDS"), "ids separated by blanks");
  known.add_options()("input", po::value<std::string>()->value_name("FILE"), "a file with ids, - for standard input");
  known.add_options()("jsonl", "lines {\"ids\": […]} in, lines {\"text\": …} out");
  known.add_options()("skip-special", "leave special tokens out of the text");
  const auto values =
      parse_options(args, "hrm tokenizer decode --tokenizer FILE (--ids \"…\" | --input FILE|-)", known);
  if (!values) {
    return 0;
  }
  const Tokenizer tokenizer = Tokenizer::read(required(*values, "tokenizer"));
  const bool skip_special = values->count("skip-special") > 0;
  if (values->count("jsonl") > 0) {
    each_object(*values, [&](const nlohmann::json& object, const std::string& place) {
      const std::string text = tokenizer.decode(ids_field(object, place, tokenizer), skip_special);
      output::write(nlohmann::json({{"text", text}}).dump() + "\n");
    });
  } else {
    const std::string text = given_text(*values, "ids");
    const Place place = values->count("ids") > 0 ? Place{"--ids", ExitCode::usage}
                                                 : Place{(*values)["input"].as<std::string>(), ExitCode::bad_data};
    output::write(tokenizer.decode(parse_ids(text, place, tokenizer), skip_special) + "\n");
  }
  return 0;
}

}  // namespace

int run_tokenizer(Arguments args) {
  const std::string action = args.empty() ? "" : args.front();
  if (action == "train") {
    return run_train(args.subspan(1));
  }
  if (action == "encode") {
    return run_encode(args.subspan(1));
  }
  if (action == "decode") {
    return run_decode(args.subspan(1));
  }
  if (action == "--help" || action == "-h") {
    output::print("{}\n", usage_text);
    return 0;
  }
  fail(ExitCode::usage, "hrm tokenizer: {}; give train, encode or decode",
       action.empty() ? "no action" : fmt::format("'{}' is not an action", action));
}

}  // namespace hrm::app
