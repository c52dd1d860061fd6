#include "infer/held_out.hpp"

#include <algorithm>
#include <array>

#include "base/digest.hpp"
#include "base/error.hpp"
#include "comm/rounds.hpp"
#include "data/eval_plan.hpp"
#include "data/pack_reader.hpp"
#include "infer/pack_view.hpp"

namespace hrm::infer {
namespace {

/// Slots that keep matrix products busy without holding many logits.
constexpr std::int64_t usual_slots = 2048;

struct Longest {
  std::int64_t sample = 0;
  std::int64_t length = 0;
};

Longest longest_sample(const data::SampleTable& table) {
  Longest longest;
  for (std::int64_t sample = 0; sample < table.count(); ++sample) {
    if (table.length(sample) > longest.length) {
      longest = {sample, table.length(sample)};
    }
  }
  return longest;
}

/// Adds the losses of this data rank's packs to `losses`, by sample, and the predicted tokens to `correct`. One pack of
/// every data rank is a round.
void evaluate_own_packs(const comm::Grid& grid, model::Network& network, std::int64_t slots, data::SharedCorpus& corpus,
                        const data::EvalPlan& plan, std::span<double> losses, double& correct) {
  const std::int64_t ranks = grid.data->size();
  data::PackReader reader(corpus, 1, slots, data::Supervise::response);
  data::Pack pack(slots);
  const auto start = [&](std::int64_t p) {
    if (p < plan.packs()) {
      reader.start(plan.samples(), plan.first().subspan(static_cast<std::size_t>(p), 2));
    }
  };
  std::int64_t p = grid.data->rank();
  start(p);
  comm::in_rounds(*grid.world, [&] {
    if (p >= plan.packs()) {
      return false;
    }
    reader.finish();
    reader.build(0, pack);
    start(p + ranks);
    correct += static_cast<double>(network.evaluate(view(pack)).correct);
    const std::span<const float> row_losses = network.row_losses();
    for (std::size_t row = 0; row < row_losses.size(); ++row) {
      const auto sequence = static_cast<std::size_t>(pack.supervised_sequence[row]);
      losses[plan.pack(p)[sequence]] += static_cast<double>(row_losses[row]);
    }
    p += ranks;
    return p < plan.packs();
  });
}

HeldOutLoss add_up(const data::SampleTable& table, std::span<const double> losses, double correct) {
  HeldOutLoss result;
  std::vector<StratumLoss> strata(table.strata.size());
  for (std::int64_t sample = 0; sample < table.count(); ++sample) {
    const auto at = static_cast<std::size_t>(sample);
    for (StratumLoss* sums : {&strata[table.stratum[at]], &result.total}) {
      sums->loss_sum += losses[at];
      sums->tokens += table.response(sample);
      sums->samples += 1;
    }
  }
  for (std::size_t s = 0; s < strata.size(); ++s) {
    if (strata[s].samples > 0) {
      strata[s].name = table.strata[s];
      result.strata.push_back(std::move(strata[s]));
    }
  }
  result.total.name = "total";
  result.accuracy = correct / static_cast<double>(std::max<std::int64_t>(result.total.tokens, 1));
  return result;
}

}  // namespace

void check_held_out(const data::SharedCorpus& corpus, const text::Tokenizer& tokenizer,
                    const config::ModelConfig& model, const std::string& owner) {
  const std::string folder = corpus.info().folder.string();
  if (corpus.info().tokenizer_digest != tokenizer.digest()) {
    fail(ExitCode::bad_config,
         "{}: its shards were made with another tokenizer (digest {}) than {} holds ({}); prepare them with that one",
         folder, hex(corpus.info().tokenizer_digest), owner, hex(tokenizer.digest()));
  }
  const Longest longest = longest_sample(corpus.table());
  if (longest.length > model.max_seq_len) {
    fail(ExitCode::bad_config,
         "{}: sample {} takes {} tokens, more than the model's max_seq_len of {}; prepare the folder with --context {}",
         folder, longest.sample, longest.length, model.max_seq_len, model.max_seq_len);
  }
}

std::int64_t held_out_slots(const data::SharedCorpus& corpus, const config::TrainConfig& train) {
  return std::max(longest_sample(corpus.table()).length, std::min(train.pack_tokens, usual_slots));
}

HeldOutLoss held_out_loss(const comm::Grid& grid, model::Network& network, std::int64_t slots,
                          data::SharedCorpus& corpus) {
  const data::SampleTable& table = corpus.table();
  std::vector<double> losses(static_cast<std::size_t>(table.count()));
  std::array<double, 1> correct{};
  const data::EvalPlan plan(table, slots);
  // Not inside together(): a tensor group would wait for a rank that fails alone.
  evaluate_own_packs(grid, network, slots, corpus, plan, losses, correct[0]);
  // Each sample's loss is zero on all data ranks but one: the sum is exact.
  grid.data->sum(std::span<double>(losses));
  grid.data->sum(correct);
  return add_up(table, losses, correct[0]);
}

}  // namespace hrm::infer
