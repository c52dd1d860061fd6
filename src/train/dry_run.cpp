#include "train/dry_run.hpp"

#include <fmt/core.h>

#include "base/buffer.hpp"
#include "comm/flat_shards.hpp"
#include "comm/grid.hpp"
#include "comm/tree_plan.hpp"
#include "config/resolve.hpp"
#include "data/batch_plan.hpp"
#include "data/shared_corpus.hpp"
#include "model/parameters.hpp"
#include "plan/memory.hpp"
#include "train/prepare_run.hpp"

namespace hrm::train {
namespace {

constexpr auto parts = static_cast<std::size_t>(MemoryPart::count);

double mebibytes(std::int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

std::string plan_text(data::BatchPlan& plan, const RunFacts& facts) {
  data::Batch batch;
  plan.batch(1, batch);
  std::string text = fmt::format("steps {}  batches by epoch", plan.steps());
  for (const std::int64_t batches : plan.batches_by_epoch()) {
    text += fmt::format(" {}", batches);
  }
  return text + fmt::format(
                    "\nglobal batch {} packs x {} slots; the first holds {} samples, {} supervised tokens, {:.1f} % "
                    "filled\nprecision {}  threads {}\n",
                    plan.packs(), plan.slots(), batch.samples.size(), batch.supervised_total,
                    100.0 * static_cast<double>(batch.used_total) / static_cast<double>(plan.packs() * plan.slots()),
                    facts.precision, facts.threads);
}

std::string header() {
  std::string text = fmt::format("{:>6} {:>6} {:>6} {:>9} {:>12}", "rank", "data", "tensor", "packs", "owned");
  for (std::size_t part = 0; part < parts; ++part) {
    text += fmt::format(" {:>11}", name(static_cast<MemoryPart>(part)));
  }
  return text + fmt::format(" {:>11}  (MiB)\n", "total");
}

std::string rank_row(const RunFacts& facts, const ParameterTable& table, int rank, int ranks) {
  const int tensor = static_cast<int>(facts.config.parallel.tensor);
  const plan::RankPlace place{rank / tensor, ranks / tensor, {rank % tensor, tensor}, static_cast<int>(facts.threads)};
  const comm::PackRange share = comm::pack_share(facts.config.train.packs, place.data_rank, place.data_ranks);
  const comm::FlatShards shards(table.buckets, place.data_rank, place.data_ranks);
  const plan::Memory memory = plan::training_memory(facts.config, config::precision_type(facts.precision), place);
  std::string text = fmt::format("{:>6} {:>6} {:>6} {:>9} {:>12}", rank, place.data_rank, place.tensor.rank,
                                 fmt::format("{}..{}", share.first, share.last - 1),
                                 facts.config.parallel.zero > 0 ? shards.size() : table.flat_size);
  for (std::size_t part = 0; part < parts; ++part) {
    text += fmt::format(" {:>11.1f}", mebibytes(memory[static_cast<MemoryPart>(part)]));
  }
  return text + fmt::format(" {:>11.1f}\n", mebibytes(memory.total()));
}

}  // namespace

std::string dry_run(comm::Communicator& world, const config::RunConfig& config, int ranks) {
  const comm::Grid grid = comm::pretend_grid(world, 0, ranks, config.parallel.tensor);
  data::SharedCorpus corpus(world, config.data.path);
  RunFacts facts = make_facts(ranks, config, corpus.info());
  settle_precision(world, facts, "");
  const std::vector<data::SamplingRule> rules = read_rules(world, facts);
  data::BatchPlan plan(corpus.node(), corpus.table(), facts.config.train, facts.config.model.max_seq_len, rules);
  const ParameterTable table = model::parameter_table(facts.config.model, grid.place());
  std::string text = plan_text(plan, facts);
  text += fmt::format("layout: data {} x tensor {}, zero {}\n", grid.data->size(), grid.tensor->size(),
                      facts.config.parallel.zero) +
          header();
  for (int rank = 0; rank < ranks; ++rank) {
    text += rank_row(facts, table, rank, ranks);
  }
  return text;
}

}  // namespace hrm::train
