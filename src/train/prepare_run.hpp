#pragma once
// The steps that a run and its dry run share: from the given configuration and a corpus to facts and sampling rules.
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "data/sampling.hpp"
#include "io/corpus.hpp"
#include "train/train_state.hpp"

namespace hrm::train {

/// Completes the configuration from corpus and hardware; the precision is settled by `settle_precision`.
/// InputError(bad_config) where corpus and configuration do not fit.
RunFacts make_facts(int ranks, config::RunConfig config, const io::CorpusInfo& corpus, DeviceType device,
                    const std::string& device_fingerprint);

/// The ranks read the same corpus: InputError(bad_config) naming the first rank whose digest is not rank 0's. Ranks
/// that compute differently (instruction set) are a warning: bits then depend on who works on what. Collective.
void check_same_facts(comm::Communicator& world, const RunFacts& facts);

/// The precision of the stored run (empty: none), else as wanted; auto is bf16 on devices, and on processors only where
/// every rank multiplies it natively. Collective.
void settle_precision(comm::Communicator& world, RunFacts& facts, const std::string& stored);

/// Reads data.sampling. Collective.
std::vector<data::SamplingRule> read_rules(comm::Communicator& world, RunFacts& facts);

}  // namespace hrm::train
