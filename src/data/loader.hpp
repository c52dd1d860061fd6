#pragma once
// This rank's packs of each step, read one step ahead.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.hpp"
#include "comm/gradient_tree.hpp"
#include "data/batch_plan.hpp"
#include "data/pack_reader.hpp"

namespace hrm::data {

/// Memory per rank: two steps of tokens (16 bytes per own slot) and one step of packs (12 to 36 bytes per own slot).
class Loader {
 public:
  /// `share`: the packs of every batch that this rank works on. `group`, `corpus` and `plan` outlive this.
  Loader(comm::Communicator& group, SharedCorpus& corpus, BatchPlan& plan, comm::PackRange share, Supervise supervise);

  /// Collective: makes this rank's packs of update `step` in [1, N], in order, and begins to read those of step + 1.
  /// Any step may follow any other; the next one is fastest. One rank's failing read is thrown on all ranks.
  const std::vector<Pack>& load(std::int64_t step);

  /// The batch of the last load().
  const Batch& batch() const { return current_->batch; }
  const std::vector<Pack>& packs() const { return packs_; }

 private:
  struct Stage {
    Stage(SharedCorpus& corpus, comm::PackRange share, std::int64_t slots, Supervise supervise)
        : reader(corpus, share.count(), slots, supervise) {}
    Batch batch;  ///< step 0: nothing is being read
    PackReader reader;
  };
  void begin(Stage& stage);
  void catch_up(std::int64_t step);

  comm::Communicator& group_;
  BatchPlan& plan_;
  comm::PackRange share_;
  std::unique_ptr<Stage> current_;
  std::unique_ptr<Stage> ahead_;
  std::vector<Pack> packs_;  ///< [share.count()]
};

/// `train.loss` as what is supervised.
Supervise supervise_by(const std::string& loss);

}  // namespace hrm::data
