#pragma once
// Evaluation inside a run, with the averaged weights: held-out loss of eval.path and scores of eval.benchmark.
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "comm/grid.hpp"
#include "data/shared_corpus.hpp"
#include "infer/benchmark.hpp"
#include "text/tokenizer.hpp"
#include "train/learner.hpp"
#include "train/train_state.hpp"

namespace hrm::train {

class Evaluation {
 public:
  /// Collective. Opens and checks what the configuration names: 66, 65, 78 as for `hrm eval`, before the first step.
  Evaluation(const comm::Grid& grid, const RunFacts& facts);

  /// Whether anything is evaluated after this step (never for the last one: a run's end always is).
  bool due(std::int64_t step) const;

  /// Collective: one journal row per held-out corpus, stratum and benchmark, and a line for each total.
  std::vector<nlohmann::json> run(Learner& learner, std::int64_t step);

 private:
  bool wanted() const { return corpus_ != nullptr || !benchmarks_.files.empty(); }
  void add_held_out(Learner& learner, std::int64_t step, std::vector<nlohmann::json>& rows);
  void add_benchmarks(Learner& learner, std::int64_t step, std::vector<nlohmann::json>& rows);

  const comm::Grid& grid_;
  config::RunConfig config_;
  Precision precision_;
  text::Tokenizer tokenizer_;
  std::unique_ptr<data::SharedCorpus> corpus_;
  infer::BenchmarkOptions benchmarks_;
  std::vector<infer::Graded> problems_;  ///< read once: a file that vanishes later does not end the run
};

}  // namespace hrm::train
