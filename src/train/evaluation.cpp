#include "train/evaluation.hpp"

#include <algorithm>

#include "base/log.hpp"
#include "config/resolve.hpp"
#include "infer/held_out.hpp"

namespace hrm::train {
namespace {

/// Names of groups in metrics.h5 hold no slash.
std::string group_name(std::string name) {
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

nlohmann::json row_of(const std::string& name, std::int64_t step) {
  return {{"record", "eval"}, {"name", group_name(name)}, {"step", step}};
}

}  // namespace

Evaluation::Evaluation(const comm::Grid& grid, const RunFacts& facts)
    : grid_(grid),
      config_(facts.config),
      precision_(config::precision_type(facts.precision)),
      tokenizer_(text::Tokenizer::parse(facts.tokenizer_json, "tokenizer of " + facts.config.data.path)) {
  if (!config_.eval.path.empty()) {
    corpus_ = std::make_unique<data::SharedCorpus>(*grid.world, config_.eval.path);
    infer::check_held_out(*corpus_, tokenizer_, config_.model, "data.path " + config_.data.path);
  }
  if (!config_.eval.benchmark.empty()) {
    benchmarks_.files = {config_.eval.benchmark};
    comm::together(*grid.world, [&] { problems_ = infer::read_benchmarks(benchmarks_); });
  }
}

bool Evaluation::due(std::int64_t step) const {
  return wanted() && config_.eval.interval_steps > 0 && step % config_.eval.interval_steps == 0;
}

std::vector<nlohmann::json> Evaluation::run(Learner& learner, std::int64_t step) {
  std::vector<nlohmann::json> rows;
  if (!wanted()) {
    return rows;
  }
  if (corpus_) {
    learner.load_average();
    add_held_out(learner, step, rows);
    learner.load_masters();
  }
  if (!benchmarks_.files.empty()) {
    learner.network();  // waits for weights on their way: answers are gathered over the same communicator
    add_benchmarks(learner, step, rows);
  }
  return rows;
}

void Evaluation::add_held_out(Learner& learner, std::int64_t step, std::vector<nlohmann::json>& rows) {
  const infer::HeldOutLoss loss = infer::held_out_loss(grid_, learner.network(), config_.train.pack_tokens, *corpus_);
  const auto add = [&](const std::string& name, const infer::StratumLoss& stratum) {
    nlohmann::json row = row_of(name, step);
    row["loss"] = stratum.loss();
    row["tokens"] = stratum.tokens;
    row["samples"] = stratum.samples;
    rows.push_back(row);
  };
  add("heldout", loss.total);
  rows.back()["accuracy"] = loss.accuracy;
  for (const infer::StratumLoss& stratum : loss.strata) {
    add("heldout." + stratum.name, stratum);
  }
  log::info("step {}: held-out loss {:.4f} nats per response token, {:.1f} % of them predicted", step,
            loss.total.loss(), 100 * loss.accuracy);
}

void Evaluation::add_benchmarks(Learner& learner, std::int64_t step, std::vector<nlohmann::json>& rows) {
  const auto load = [&learner](model::Decoder& decoder) {
    decoder.load_constant(learner.zl_init());
    learner.send_average([&decoder](int bucket, auto values) { decoder.load_bucket(bucket, values); });
  };
  const infer::Model model{config_.model, precision_, tokenizer_, load};
  for (const infer::BenchmarkScore& benchmark : infer::run_benchmarks(grid_, model, benchmarks_, problems_).scores) {
    nlohmann::json row = row_of(benchmark.name, step);
    row["n"] = benchmark.total.n;
    row["correct"] = benchmark.total.correct;
    row["invalid"] = benchmark.total.invalid;
    row["score"] = benchmark.total.score();
    rows.push_back(row);
    log::info("step {}: {} {:.1f} % of {}", step, benchmark.name, 100 * benchmark.total.score(), benchmark.total.n);
  }
}

}  // namespace hrm::train
