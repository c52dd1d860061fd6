#include "train/prepare_run.hpp"

#include <omp.h>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "config/resolve.hpp"
#include "data/sampling.hpp"
#include "kernels/matmul.hpp"

namespace hrm::train {
namespace {

void settle_precision(comm::Communicator& world, RunFacts& facts, const std::string& stored) {
  std::int64_t without = facts.device == DeviceType::cuda || kernels::native_bf16() ? 0 : 1;
  world.max(std::span<std::int64_t>(&without, 1));
  facts.precision = config::resolved_precision(facts.config.train.precision, without == 0, stored);
}

std::vector<data::SamplingRule> read_rules(comm::Communicator& world, RunFacts& facts) {
  const std::string text = data::read_sampling(world, facts.config.data.sampling);
  facts.sampling_digest = text.empty() ? 0 : digest_text(text);
  return data::parse_sampling(text, facts.config.data.sampling);
}

/// `stored` again, when it is of the same run as `facts`, whose precision is settled by it.
std::optional<io::CheckpointReader> settled(comm::Communicator& world, RunFacts& facts,
                                            std::optional<io::CheckpointReader> stored) {
  settle_precision(world, facts, stored ? stored->meta().precision : "");
  if (stored) {
    check_identity(stored->meta(), facts, stored->path().string());
  }
  return stored;
}

/// A stop that one rank is asked for meanwhile is one of all.
std::unique_ptr<data::BatchPlan> plan_batches(data::SharedCorpus& corpus, const RunFacts& facts,
                                              std::span<const data::SamplingRule> rules) {
  std::unique_ptr<data::BatchPlan> plan;
  comm::together(corpus.group(), [&] {
    plan = std::make_unique<data::BatchPlan>(corpus.node(), corpus.table(), facts.config.train,
                                             facts.config.model.max_seq_len, rules);
  });
  return plan;
}

}  // namespace

RunFacts make_facts(int ranks, config::RunConfig config, const io::CorpusInfo& corpus, DeviceType device,
                    const std::string& device_fingerprint) {
  config::check_training(config);
  config.model = config::complete_model(config.model, corpus.vocab_size);
  config::check_ranks(config, ranks);
  RunFacts facts;
  facts.config = std::move(config);
  facts.corpus_digest = corpus.corpus_digest;
  facts.tokenizer_json = corpus.tokenizer_json;
  facts.ranks = ranks;
  facts.threads = omp_get_max_threads();
  facts.device = device;
  facts.fingerprint = fingerprint(facts.config, device_fingerprint);
  return facts;
}

void check_same_facts(comm::Communicator& world, const RunFacts& facts) {
  const std::vector<std::string> digests = world.gather(hex(facts.corpus_digest));
  const std::vector<std::string> fingerprints = world.gather(facts.fingerprint);
  for (std::size_t rank = 1; rank < digests.size(); ++rank) {
    if (digests[rank] != digests[0]) {
      fail(ExitCode::bad_config,
           "data.path {}: rank {} reads a corpus with digest {}, rank 0 one with {}; give all nodes the same shards",
           facts.config.data.path, rank, digests[rank], digests[0]);
    }
  }
  for (std::size_t rank = 1; rank < fingerprints.size(); ++rank) {
    if (fingerprints[rank] != fingerprints[0]) {
      log::warn("rank {} computes with {}, rank 0 with {}: bits depend on which rank works on what", rank,
                fingerprints[rank], fingerprints[0]);
      return;
    }
  }
}

RunPlan::RunPlan(const comm::Grid& grid, data::SharedCorpus& corpus, RunFacts given,
                 std::optional<io::CheckpointReader> stored_run)
    : facts(std::move(given)),
      sampling(read_rules(*grid.world, facts)),
      stored(settled(*grid.world, facts, std::move(stored_run))),
      batches(plan_batches(corpus, facts, sampling)),
      evaluation(grid, facts),
      limit(find_time_limit(facts.config.run.time_limit)) {}

std::string RunPlan::objection() const {
  const std::int64_t warmup = facts.config.train.lr_warmup_steps;
  return warmup < batches->steps()
             ? ""
             : fmt::format("train.lr_warmup_steps = {} must be below the planned {} steps", warmup, batches->steps());
}

}  // namespace hrm::train
