// hrm prepare
#include <cstdint>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/options.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "text/prepare.hpp"

namespace hrm::app {
namespace {

constexpr const char* usage_text =
    "hrm prepare --input FILE… --tokenizer tokenizer.json --out FOLDER [options]\n"
    "Turns JSONL samples into corpus shards, with all ranks that were started. A line holds {\"instruction\": …, "
    "\"response\": …, \"condition\"?: direct, cot, noisy, synth or several joined by commas (default direct), "
    "\"source\"?: the stratum (default, and where it is empty, the file's name)}.";

po::options_description known_options() {
  po::options_description known("Options");
  known.add_options()("input", po::value<std::vector<std::string>>()->multitoken()->value_name("FILE…"),
                      "files (.jsonl, .jsonl.gz, .jsonl.zst), taken in this order");
  known.add_options()("tokenizer", po::value<std::string>()->value_name("FILE"),
                      "a tokenizer.json with the special tokens");
  known.add_options()("out", po::value<std::string>()->value_name("FOLDER"),
                      "folder for the shards and corpus.h5; made if missing");
  known.add_options()("context", po::value<std::int64_t>()->default_value(4096)->value_name("N"),
                      "longest sample in positions: instruction tokens + response tokens - 1");
  known.add_options()("overlong", po::value<std::string>()->default_value("truncate")->value_name("HOW"),
                      "what happens to longer ones: truncate (cuts the response; drops where the instruction leaves no "
                      "room), drop, error");
  known.add_options()("skip-bad", "count bad lines instead of stopping at the first");
  known.add_options()("tokens-per-shard",
                      po::value<std::int64_t>()->default_value(io::default_tokens_per_shard)->value_name("N"),
                      "a shard ends before it holds more tokens");
  known.add_options()("replace", "write over a corpus that is already in the folder");
  return known;
}

text::Overlong overlong_of(const std::string& name) {
  if (name == "truncate") {
    return text::Overlong::truncate;
  }
  if (name == "drop") {
    return text::Overlong::drop;
  }
  if (name == "error") {
    return text::Overlong::error;
  }
  fail(ExitCode::usage, "--overlong {} is unknown; give truncate, drop or error", name);
}

text::PrepareOptions options_of(const po::variables_map& values) {
  text::PrepareOptions options;
  if (values.count("input") == 0) {
    fail(ExitCode::usage, "--input is missing; give one or more files");
  }
  for (const std::string& file : values["input"].as<std::vector<std::string>>()) {
    options.inputs.emplace_back(file);
  }
  options.tokenizer = required(values, "tokenizer");
  options.out = required(values, "out");
  options.context = values["context"].as<std::int64_t>();
  options.overlong = overlong_of(values["overlong"].as<std::string>());
  options.skip_bad = values.count("skip-bad") > 0;
  options.tokens_per_shard = values["tokens-per-shard"].as<std::int64_t>();
  options.replace = values.count("replace") > 0;
  // The upper bounds are those of the 32-bit lengths in the index and of a shard's gathered tokens.
  if (options.context < 1 || options.context > (std::int64_t{1} << 30)) {
    fail(ExitCode::usage, "--context {} is out of range; give 1 … {}", options.context, std::int64_t{1} << 30);
  }
  if (options.tokens_per_shard < 1 || options.tokens_per_shard > (std::int64_t{1} << 40)) {
    fail(ExitCode::usage, "--tokens-per-shard {} is out of range; give 1 … {}", options.tokens_per_shard,
         std::int64_t{1} << 40);
  }
  return options;
}

}  // namespace

int run_prepare(Arguments args, comm::Communicator& world) {
  const auto values = parse_options(args, usage_text, known_options());
  if (!values) {
    return 0;
  }
  const text::PrepareOptions options = options_of(*values);

  const text::Prepared done = text::prepare(world, options);

  log::info("{}: {} samples, {} tokens, {} strata in {} shards", options.out.string(), done.corpus.n_samples,
            done.corpus.n_tokens, done.corpus.strata.size(), done.corpus.shards.size());
  log::info("{} lines read: {} responses cut to the context, {} overlong samples dropped, {} bad lines skipped",
            done.counts.lines, done.counts.truncated, done.counts.dropped, done.counts.bad);
  return 0;
}

}  // namespace hrm::app
