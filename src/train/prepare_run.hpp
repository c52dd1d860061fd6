#pragma once
// The steps that a run and its dry run share: from the given configuration and a corpus to facts and plan.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "data/batch_plan.hpp"
#include "data/shared_corpus.hpp"
#include "io/checkpoint_reader.hpp"
#include "io/corpus.hpp"
#include "train/evaluation.hpp"
#include "train/time_limit.hpp"
#include "train/train_state.hpp"

namespace hrm::train {

/// Completes the configuration from corpus and hardware; the precision is settled by RunPlan.
/// InputError(bad_config) where corpus and configuration do not fit.
RunFacts make_facts(int ranks, config::RunConfig config, const io::CorpusInfo& corpus, DeviceType device,
                    const std::string& device_fingerprint);

/// The ranks read the same corpus: InputError(bad_config) naming the first rank whose digest is not rank 0's. Ranks
/// that compute differently (instruction set) are a warning: bits then depend on who works on what. Collective.
void check_same_facts(comm::Communicator& world, const RunFacts& facts);

/// All that a run does, found before its first step. Making it checks everything that needs neither run folder nor
/// memory for the network.
struct RunPlan {
  /// Collective over `grid`'s world; `grid` and `corpus` outlive this. `stored_run`: where the run goes on from,
  /// nothing for a new one. The precision is settled: that of the stored run, else as wanted; auto is bf16 on devices,
  /// and on processors only where every rank multiplies it natively. InputError: bad_config where the stored run is
  /// another one, run.time_limit is no time; those of data.sampling, BatchPlan (a rank that is asked to stop stops all)
  /// and Evaluation.
  RunPlan(const comm::Grid& grid, data::SharedCorpus& corpus, RunFacts given,
          std::optional<io::CheckpointReader> stored_run);

  /// Why a run must not follow this plan, which may be looked at all the same; "" for nothing.
  std::string objection() const;

  RunFacts facts;
  std::vector<data::SamplingRule> sampling;
  std::optional<io::CheckpointReader> stored;
  std::unique_ptr<data::BatchPlan> batches;
  Evaluation evaluation;
  std::optional<TimeLimit> limit;
};

}  // namespace hrm::train
