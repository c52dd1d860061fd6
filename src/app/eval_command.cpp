// hrm eval
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/model_options.hpp"
#include "app/options.hpp"
#include "base/error.hpp"
#include "base/output.hpp"
#include "comm/use_device.hpp"
#include "infer/benchmark.hpp"
#include "infer/held_out.hpp"
#include "io/disk.hpp"

namespace hrm::app {
namespace {

using Strings = std::vector<std::string>;

constexpr const char* kUsage =
    "hrm eval --checkpoint FILE [--benchmark FILE…] [--data FOLDER] [options]\n"
    "Scores greedy answers to benchmark problems, and the loss on held-out shards. A problem is a line {\"benchmark\": "
    "…, \"question\": …, \"answer\": …, \"choices\"?: [texts], \"subject\"?: …}; with choices the answer is a letter. "
    "Ranks share the work, in groups of parallel.tensor that hold a part of the model each; the result does not depend "
    "on the number of groups.";

po::options_description known_options() {
  po::options_description known("options");
  add_model_options(known);
  auto add = known.add_options();
  add("benchmark", po::value<Strings>()->multitoken()->composing()->value_name("FILE…"),
      "problems (.jsonl, .jsonl.gz, .jsonl.zst)");
  add("data", po::value<std::string>()->value_name("FOLDER"),
      "shards: their loss in nats per response token, in all and by stratum");
  add("metric", po::value<std::string>()->value_name("letter|number|exact"),
      "how replies are scored; default: letter with choices, number for gsm8k and svamp, else exact");
  add("shots", po::value<std::int64_t>()->default_value(0)->value_name("N"),
      "solved problems of the same benchmark and subject in front of each");
  add("shots-file", po::value<std::string>()->value_name("FILE"), "where they come from, first ones first");
  add("limit", po::value<std::int64_t>()->default_value(0)->value_name("N"),
      "only the first N problems of each benchmark; 0: all");
  add("answers", po::value<std::string>()->value_name("FILE"), "writes each reply with its verdict, one object a line");
  add("json", "one object: per benchmark n, correct, score, invalid; loss where shards were given");
  return known;
}

std::optional<infer::Metric> given_metric(const po::variables_map& values) {
  if (values.count("metric") == 0) {
    return std::nullopt;
  }
  const auto name = values["metric"].as<std::string>();
  const auto metric = infer::metric_named(name);
  if (!metric) {
    fail(ExitCode::usage, "--metric {} is unknown; give letter, number or exact", name);
  }
  return metric;
}

infer::BenchmarkOptions benchmark_options(const po::variables_map& values) {
  infer::BenchmarkOptions options;
  if (values.count("benchmark") > 0) {
    const auto& files = values["benchmark"].as<Strings>();
    options.files.assign(files.begin(), files.end());
  }
  options.metric = given_metric(values);
  options.condition = given_condition(values);
  options.shots = at_least(values, "shots", 0);
  if (options.shots > 0) {
    options.shots_file = required(values, "shots-file");
  }
  options.limit = at_least(values, "limit", 0);
  options.generate.max_tokens = at_least(values, "max-tokens", 1);
  options.generate.batch = at_least(values, "batch", 0);
  if (options.files.empty() && values.count("data") == 0) {
    fail(ExitCode::usage, "nothing to evaluate; give --benchmark FILE or --data FOLDER");
  }
  return options;
}

infer::HeldOutLoss evaluate_shards(const comm::Grid& grid, bool sequence, const infer::LoadedModel& model,
                                   const std::string& folder) {
  data::SharedCorpus corpus(*grid.world, folder);
  std::unique_ptr<model::Network> network;
  const std::int64_t slots = infer::held_out_slots(corpus, model.config.train);
  comm::together(*grid.world, [&] {
    infer::check_held_out(corpus, model.tokenizer, model.config.model, model.path.string());
    network = model::Network::make(model.config.model, model.precision, slots, model::Purpose::evaluation, false,
                                   {grid.tensor.get(), sequence}, *grid.device);
    network->load(model.flat.span(), model.zl_init);
  });
  comm::share_product_choices(grid);
  return infer::held_out_loss(grid, *network, slots, corpus);
}

struct Results {
  infer::BenchmarkReport benchmarks;
  std::optional<infer::HeldOutLoss> held_out;
};

nlohmann::ordered_json json_of(const infer::Score& score) {
  return {{"n", score.n}, {"correct", score.correct}, {"score", score.score()}, {"invalid", score.invalid}};
}

nlohmann::ordered_json json_of(const infer::StratumLoss& stratum) {
  return {{"loss", stratum.loss()}, {"tokens", stratum.tokens}, {"samples", stratum.samples}};
}

nlohmann::ordered_json json_of(const Results& results) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const infer::BenchmarkScore& benchmark : results.benchmarks.scores) {
    nlohmann::ordered_json entry = json_of(benchmark.total);
    if (!benchmark.subjects.empty()) {
      entry["subject_mean"] = benchmark.subject_mean();
      for (const auto& [subject, score] : benchmark.subjects) {
        entry["subjects"][subject] = json_of(score);
      }
    }
    object[benchmark.name] = entry;
  }
  if (results.held_out) {
    object["loss"] = results.held_out->total.loss();
    object["loss_tokens"] = results.held_out->total.tokens;
    object["token_accuracy"] = results.held_out->accuracy;
    for (const infer::StratumLoss& stratum : results.held_out->strata) {
      object["loss_by_stratum"][stratum.name] = json_of(stratum);
    }
  }
  return object;
}

void print_scores(const std::vector<infer::BenchmarkScore>& scores) {
  std::size_t width = 9;
  for (const infer::BenchmarkScore& benchmark : scores) {
    width = std::max(width, benchmark.name.size());
  }
  output::print("{:<{}}  {:>7}  {:>7}  {:>7}  {:>7}\n", "benchmark", width, "n", "correct", "score", "invalid");
  for (const infer::BenchmarkScore& benchmark : scores) {
    const infer::Score& total = benchmark.total;
    output::print("{:<{}}  {:>7}  {:>7}  {:>5.1f} %  {:>7}\n", benchmark.name, width, total.n, total.correct,
                  100 * total.score(), total.invalid);
    if (benchmark.subjects.size() > 1) {
      output::print("{:<{}}  mean of {} subjects: {:.1f} %\n", "", width, benchmark.subjects.size(),
                    100 * benchmark.subject_mean());
    }
  }
}

void print_losses(const infer::HeldOutLoss& held_out) {
  output::print("loss {:.4f} nats per response token over {} tokens of {} samples; {:.1f} % of them predicted\n",
                held_out.total.loss(), held_out.total.tokens, held_out.total.samples, 100 * held_out.accuracy);
  for (const infer::StratumLoss& stratum : held_out.strata) {
    output::print("  {:.4f}  {:>9} tokens  {}\n", stratum.loss(), stratum.tokens, stratum.name);
  }
}

void print(const Results& results, bool json) {
  if (json) {
    output::print("{}\n", json_of(results).dump(2));
    return;
  }
  if (!results.benchmarks.scores.empty()) {
    print_scores(results.benchmarks.scores);
  }
  if (results.held_out) {
    print_losses(*results.held_out);
  }
}

std::string answers_text(const std::vector<infer::Graded>& replies) {
  std::string text;
  for (const infer::Graded& graded : replies) {
    const nlohmann::ordered_json object = {{"benchmark", graded.problem.benchmark},
                                           {"subject", graded.problem.subject},
                                           {"question", graded.problem.question},
                                           {"answer", graded.problem.answer},
                                           {"reply", graded.reply},
                                           {"metric", infer::name(graded.metric)},
                                           {"correct", graded.verdict.correct},
                                           {"invalid", !graded.verdict.valid}};
    text += object.dump() + "\n";
  }
  return text;
}

}  // namespace

int run_eval(Arguments args, comm::Communicator& world) {
  const auto values = parse_options(args, kUsage, known_options());
  if (!values) {
    return 0;
  }
  const infer::BenchmarkOptions options = benchmark_options(*values);
  const config::RunConfig config = given_config(world, *values, 1);
  const comm::Grid grid = given_grid(world, config);
  const infer::LoadedModel model = load_given_model(grid, *values);

  comm::together(world, [&] {
    if (world.rank() == 0 && values->count("answers") > 0) {
      // An unwritable folder is found out before the work, not after it.
      io::make_folder(std::filesystem::absolute((*values)["answers"].as<std::string>()).parent_path());
    }
  });

  Results results;
  if (!options.files.empty()) {
    results.benchmarks = infer::run_benchmarks(grid, model.view(), options);
  }
  if (values->count("data") > 0) {
    results.held_out = evaluate_shards(grid, config.parallel.sequence, model, (*values)["data"].as<std::string>());
  }

  comm::together(world, [&] {
    if (world.rank() == 0 && values->count("answers") > 0) {
      io::replace_file((*values)["answers"].as<std::string>(), answers_text(results.benchmarks.replies), false);
    }
  });
  if (world.rank() == 0) {
    print(results, values->count("json") > 0);
  }
  return 0;
}

}  // namespace hrm::app
