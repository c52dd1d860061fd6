#pragma once
// Loss on shards that were not trained on: nats per response token, in all and by stratum.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "comm/grid.hpp"
#include "config/run_config.hpp"
#include "data/shared_corpus.hpp"
#include "model/network.hpp"
#include "text/tokenizer.hpp"

namespace hrm::infer {

struct StratumLoss {
  std::string name;
  double loss_sum = 0;      ///< nats
  std::int64_t tokens = 0;  ///< response tokens, their end token included
  std::int64_t samples = 0;

  /// Nats per token; NaN where there is none.
  double loss() const {
    return tokens > 0 ? loss_sum / static_cast<double>(tokens) : std::numeric_limits<double>::quiet_NaN();
  }
};

struct HeldOutLoss {
  StratumLoss total;
  std::vector<StratumLoss> strata;  ///< in the corpus's order, those without samples left out
  double accuracy = 0;              ///< share of response tokens that are predicted
};

/// Refuses (78) a corpus made with another tokenizer than the checkpoint's (`owner` names it), and samples longer than
/// the model's max_seq_len.
void check_held_out(const data::SharedCorpus& corpus, const text::Tokenizer& tokenizer,
                    const config::ModelConfig& model, const std::string& owner);

/// Slots of a pack that suit the corpus: what a network for held_out_loss is made with where none exists yet.
std::int64_t held_out_slots(const data::SharedCorpus& corpus, const config::TrainConfig& train);

/// Every sample once. Collective over the grid: data ranks share the packs, a tensor group works on each of its own
/// together. The sums, added sample by sample, are the same for any number of data ranks. `network` has its weights and
/// takes packs of `slots` slots; `corpus` is open on all ranks. InputError(stopped) when a rank was asked to stop.
HeldOutLoss held_out_loss(const comm::Grid& grid, model::Network& network, std::int64_t slots,
                          data::SharedCorpus& corpus);

}  // namespace hrm::infer
