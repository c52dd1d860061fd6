// hrm generate
#include <fmt/format.h>

#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/model_options.hpp"
#include "app/options.hpp"
#include "base/error.hpp"
#include "base/output.hpp"
#include "base/stop_request.hpp"
#include "base/utf8.hpp"
#include "infer/generate.hpp"
#include "io/jsonl.hpp"
#include "io/jsonl_object.hpp"

namespace hrm::app {
namespace {

constexpr const char* kUsage =
    "hrm generate --checkpoint FILE [--condition NAMES] [--prompt TEXT | --prompts FILE] [options]\n"
    "Answers one prompt, a file of prompts, or the lines of standard input. One answer per line; line ends inside an "
    "answer are printed as \\n where there are several prompts. Names of special tokens in a prompt stay text. Several "
    "ranks hold a part of the model each (tensor parallelism).";

po::options_description known_options() {
  po::options_description known("options");
  add_model_options(known);
  auto add = known.add_options();
  add("prompt", po::value<std::string>()->value_name("TEXT"), "the prompt");
  add("prompts", po::value<std::string>()->default_value("-")->value_name("FILE"),
      "prompts, one per line; in a .jsonl (.gz, .zst) file lines {\"instruction\": …, \"condition\"?: …}; - is "
      "standard "
      "input");
  add("temperature", po::value<double>()->default_value(0)->value_name("T"),
      "0: always the most likely token; else draw");
  add("top-k", po::value<std::int64_t>()->default_value(0)->value_name("K"),
      "draw among the K most likely tokens; 0: all");
  add("top-p", po::value<double>()->default_value(1)->value_name("P"),
      "draw among the most likely tokens that together reach P");
  add("seed", po::value<std::int64_t>()->default_value(0)->value_name("N"),
      "of the draws; the same seed gives the same answers");
  add("json", "one object per prompt and line: prompt, answer, tokens, finish");
  return known;
}

/// All ranks answer together: the tensor-parallel size is their number.
comm::Grid tensor_grid(comm::Communicator& world, const po::variables_map& values) {
  const config::RunConfig config = given_config(world, values, world.size());
  const std::int64_t tensor = config.parallel.tensor;
  if (tensor != world.size()) {
    fail(ExitCode::bad_config,
         "parallel.tensor = {}: hrm generate cuts the model over all of its {} ranks; leave the key out, or start that "
         "many ranks",
         tensor, world.size());
  }
  return given_grid(world, config);
}

infer::GenerateOptions options_of(const po::variables_map& values) {
  if (values.count("prompt") > 0 && !values["prompts"].defaulted()) {
    fail(ExitCode::usage, "--prompt and --prompts were given; give one of them");
  }
  infer::GenerateOptions options;
  options.max_tokens = at_least(values, "max-tokens", 1);
  options.batch = at_least(values, "batch", 0);
  options.sampling.temperature = values["temperature"].as<double>();
  options.sampling.top_k = at_least(values, "top-k", 0);
  options.sampling.top_p = values["top-p"].as<double>();
  options.sampling.seed = static_cast<std::uint64_t>(at_least(values, "seed", 0));
  // Written so that NaN is refused too.
  if (!(options.sampling.temperature >= 0) || !(options.sampling.top_p > 0 && options.sampling.top_p <= 1)) {
    fail(ExitCode::usage, "--temperature must not be negative and --top-p must lie in (0, 1]; correct them");
  }
  return options;
}

/// A prompt as the user gave it.
struct Request {
  std::string prompt;
  std::string condition;
  std::string place;
};

Request parse_request(std::string_view line, const std::string& place, const std::string& condition) {
  const nlohmann::json object = io::parse_jsonl_object(line, place);
  return {io::required_string(object, "instruction", place),
          io::optional_string(object, "condition", place).value_or(condition), place};
}

Request plain_request(const std::string& text, const std::string& place, const std::string& condition) {
  if (const auto bad = first_invalid_utf8(text)) {
    fail(ExitCode::bad_data, "{}: byte {} of the prompt is not UTF-8; convert the text", place, *bad);
  }
  return {text, condition, place};
}

std::vector<Request> read_requests(const po::variables_map& values, const std::string& condition) {
  if (values.count("prompt") > 0) {
    return {plain_request(values["prompt"].as<std::string>(), "--prompt", condition)};
  }
  const auto file = values["prompts"].as<std::string>();
  const bool objects = file.find(".jsonl") != std::string::npos;
  std::vector<Request> requests;
  io::LineReader reader(file);
  while (const std::optional<std::string_view> line = reader.next()) {
    if (!io::is_blank(*line)) {
      requests.push_back(objects ? parse_request(*line, reader.place(), condition)
                                 : plain_request(std::string(io::without_line_end(*line)), reader.place(), condition));
    }
  }
  return requests;
}

/// Standard input belongs to rank 0, so it reads for all.
std::vector<Request> share_requests(comm::Communicator& world, const po::variables_map& values,
                                    const std::string& condition) {
  std::string text;
  comm::together(world, [&] {
    if (world.rank() == 0) {
      nlohmann::json list = nlohmann::json::array();
      for (const Request& request : read_requests(values, condition)) {
        list.push_back({request.prompt, request.condition, request.place});
      }
      text = list.dump();
    }
  });
  std::vector<Request> requests;
  for (const nlohmann::json& entry : nlohmann::json::parse(comm::broadcast_text(world, text))) {
    requests.push_back({entry[0].get<std::string>(), entry[1].get<std::string>(), entry[2].get<std::string>()});
  }
  return requests;
}

std::vector<infer::Tokens> encode(const infer::LoadedModel& model, const std::vector<Request>& requests) {
  const infer::PromptEncoder encoder(model.tokenizer);
  std::vector<infer::Tokens> prompts;
  for (const Request& request : requests) {
    prompts.push_back(encoder.encode(request.prompt, request.condition, request.place));
    if (std::ssize(prompts.back()) > model.config.model.max_seq_len) {
      fail(ExitCode::bad_data, "{}: the prompt takes {} tokens, more than the model's max_seq_len of {}; shorten it",
           request.place, prompts.back().size(), model.config.model.max_seq_len);
    }
  }
  return prompts;
}

std::string on_one_line(std::string text) {
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at)) {
    text.replace(at, 1, "\\n");
  }
  return text;
}

void print(const std::vector<Request>& requests, const std::vector<infer::Answer>& answers,
           const infer::PromptEncoder& encoder, bool json) {
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const std::string text = encoder.text(answers[i].tokens);
    if (json) {
      const nlohmann::ordered_json object = {{"prompt", requests[i].prompt},
                                             {"answer", text},
                                             {"tokens", answers[i].tokens.size()},
                                             {"finish", infer::name(answers[i].finish)}};
      output::print("{}\n", object.dump());
    } else {
      output::print("{}\n", answers.size() > 1 ? on_one_line(text) : text);
    }
  }
}

}  // namespace

int run_generate(Arguments args, comm::Communicator& world) {
  const auto values = parse_options(args, kUsage, known_options());
  if (!values) {
    return 0;
  }
  const infer::GenerateOptions options = options_of(*values);
  const std::string condition = given_condition(*values);
  const comm::Grid grid = tensor_grid(world, *values);
  // Whoever waits for standard input is to be ended by a signal at once.
  const bool asks = values->count("prompt") == 0 && (*values)["prompts"].as<std::string>() == "-";
  if (!asks) {
    watch_stop_signals();
  }
  const infer::LoadedModel model = load_given_model(grid, *values);
  const std::vector<Request> requests = share_requests(world, *values, condition);
  watch_stop_signals();
  const std::vector<infer::Tokens> prompts = encode(model, requests);

  const std::vector<infer::Answer> answers = infer::generate(grid, model.view(), prompts, options);

  if (world.rank() == 0) {
    print(requests, answers, infer::PromptEncoder(model.tokenizer), values->count("json") > 0);
  }
  return 0;
}

}  // namespace hrm::app
