#include "train/dry_run.hpp"

#include <fmt/core.h>

#include <array>

#include "base/buffer.hpp"
#include "config/resolve.hpp"
#include "data/batch_plan.hpp"
#include "data/loader.hpp"
#include "data/shared_corpus.hpp"
#include "train/learner.hpp"
#include "train/prepare_run.hpp"

namespace hrm::train {
namespace {

constexpr auto parts = static_cast<std::size_t>(MemoryPart::count);
using PartBytes = std::array<std::size_t, parts>;

PartBytes live_bytes() {
  PartBytes bytes{};
  for (std::size_t part = 0; part < parts; ++part) {
    bytes[part] = memory_bytes(static_cast<MemoryPart>(part));
  }
  return bytes;
}

double mebibytes(std::size_t bytes) {
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
  std::string text = fmt::format("{:>6} {:>12} {:>26}", "rank", "packs", "flat parameters");
  for (std::size_t part = 0; part < parts; ++part) {
    text += fmt::format(" {:>11}", name(static_cast<MemoryPart>(part)));
  }
  return text + fmt::format(" {:>11}  (MiB)\n", "total");
}

std::string rank_row(const RunFacts& facts, data::SharedCorpus& corpus, data::BatchPlan& plan, int rank, int ranks) {
  const std::unique_ptr<comm::Communicator> place = comm::pretend_communicator(rank, ranks);
  const PartBytes before = live_bytes();
  const Learner learner(*place, facts.config, config::precision_type(facts.precision));
  const comm::PackRange share = learner.share();
  const data::Loader loader(*place, corpus, plan, share, data::supervise_by(facts.config.train.loss));
  const PartBytes after = live_bytes();
  const comm::FlatRange flat = comm::flat_share(learner.table().flat_size, rank, ranks);
  std::string text = fmt::format("{:>6} {:>12} {:>26}", rank, fmt::format("{}..{}", share.first, share.last - 1),
                                 fmt::format("{}..{}", flat.first, flat.last - 1));
  std::size_t total = 0;
  for (std::size_t part = 0; part < parts; ++part) {
    // The corpus index is there already; a rank's node holds it once.
    const bool shared = static_cast<MemoryPart>(part) == MemoryPart::data;
    const std::size_t bytes = shared ? after[part] : after[part] - before[part];
    total += bytes;
    text += fmt::format(" {:>11.1f}", mebibytes(bytes));
  }
  return text + fmt::format(" {:>11.1f}\n", mebibytes(total));
}

}  // namespace

std::string dry_run(comm::Communicator& world, const config::RunConfig& config, int ranks) {
  data::SharedCorpus corpus(world, config.data.path);
  RunFacts facts = make_facts(ranks, config, corpus.info());
  settle_precision(world, facts, "");
  const std::vector<data::SamplingRule> rules = read_rules(world, facts);
  data::BatchPlan plan(corpus.node(), corpus.table(), facts.config.train, facts.config.model.max_seq_len, rules);
  std::string text = plan_text(plan, facts) + header();
  for (int rank = 0; rank < ranks; ++rank) {
    text += rank_row(facts, corpus, plan, rank, ranks);
  }
  return text;
}

}  // namespace hrm::train
