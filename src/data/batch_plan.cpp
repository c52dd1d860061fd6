#include "data/batch_plan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "base/stop_request.hpp"

namespace hrm::data {

BatchPlan::BatchPlan(comm::Communicator& node, const SampleTable& table, const config::TrainConfig& train,
                     std::int64_t max_seq_len, std::span<const SamplingRule> rules)
    : node_(node),
      table_(table),
      train_(train),
      least_slots_(max_seq_len),
      order_(table, sampling_shares(rules, table.strata, rows_by_stratum(table)), train.seed),
      samples_(node, order_.size()),
      packer_(planner(train.packs, train.pack_tokens, train.drop_last)) {
  check_lengths(max_seq_len);
  plan_epochs();
}

void BatchPlan::check_lengths(std::int64_t max_seq_len) const {
  std::int64_t longest = 0;
  for (std::int64_t sample = 0; sample < table_.count(); ++sample) {
    if (table_.length(sample) > table_.length(longest)) {
      longest = sample;
    }
  }
  const std::int64_t length = table_.count() == 0 ? 0 : table_.length(longest);
  if (length > max_seq_len) {
    fail(ExitCode::bad_config,
         "sample {} of the corpus takes {} tokens, more than model.max_seq_len = {}; set model.max_seq_len to at least "
         "{} or prepare the corpus with --context {}",
         longest, length, max_seq_len, length, max_seq_len);
  }
  if (length > train_.pack_tokens) {
    fail(ExitCode::bad_config,
         "sample {} of the corpus takes {} tokens, more than train.pack_tokens = {}; set train.pack_tokens to at least "
         "{} or prepare the corpus with --context {}",
         longest, length, train_.pack_tokens, length, train_.pack_tokens);
  }
}

Multipack BatchPlan::planner(std::int64_t packs, std::int64_t slots, bool drop_last) const {
  return {slots, packs, drop_last, order_.size(),
          [this](std::int64_t at) { return table_.length(samples_.values()[static_cast<std::size_t>(at)]); }};
}

void BatchPlan::load_epoch(std::int64_t epoch) {
  if (loaded_epoch_ == epoch) {
    return;
  }
  samples_.publish();  // all are done with reading the old order
  comm::together(node_, [&] {
    if (node_.rank() == 0) {
      order_.fill(epoch, samples_.writable());
    }
  });
  samples_.publish();
  loaded_epoch_ = epoch;
}

BatchPlan::Borders BatchPlan::plan_epoch(std::int64_t epoch, std::int64_t most) {
  load_epoch(epoch);
  Borders borders{0};
  comm::together(node_, [&] {
    look_for_stop();
    if (node_.rank() != 0) {
      return;
    }
    while (std::ssize(borders) <= most) {
      look_for_stop();
      const std::int64_t count = packer_.take(borders.back());
      if (count == 0) {
        break;
      }
      borders.push_back(borders.back() + static_cast<std::uint32_t>(count));
    }
    if (borders.size() == 1) {
      refuse_epoch(epoch);
    }
  });
  auto size = static_cast<std::uint64_t>(borders.size());
  node_.broadcast(std::as_writable_bytes(std::span(&size, 1)), 0);
  borders.resize(size);
  node_.broadcast(std::as_writable_bytes(std::span(borders)), 0);
  return borders;
}

void BatchPlan::plan_epochs() {
  if (train_.max_steps <= 0 && train_.epochs <= 0) {
    fail(ExitCode::bad_config, "the length of the run is not given; set train.epochs or train.max_steps");
  }
  const bool by_steps = train_.max_steps > 0;
  if (train_.max_steps > most_planned_steps) {
    fail(ExitCode::bad_config, "train.max_steps = {} is more than the {} steps that a run may have", train_.max_steps,
         most_planned_steps);
  }
  first_step_.push_back(0);
  for (std::int64_t epoch = 0; by_steps ? steps_ < train_.max_steps : static_cast<double>(epoch) < train_.epochs;
       ++epoch) {
    const std::int64_t most = by_steps ? train_.max_steps - steps_ : std::numeric_limits<std::int64_t>::max();
    borders_.push_back(plan_epoch(epoch, most));
    const std::int64_t batches = std::ssize(borders_.back()) - 1;
    const double shown = by_steps ? 1.0 : std::min(1.0, train_.epochs - static_cast<double>(epoch));
    // 2.3 epochs of 10 batches end with 2.9999… batches, for the fraction is rounded.
    steps_ += static_cast<std::int64_t>(std::floor(shown * static_cast<double>(batches) + 1e-9));
    first_step_.push_back(steps_);
    if (steps_ > most_planned_steps) {
      fail(ExitCode::bad_config, "train.epochs = {} is more than the {} steps that a run may have", train_.epochs,
           most_planned_steps);
    }
  }
  if (steps_ == 0) {
    fail(ExitCode::bad_config, "train.epochs = {} is less than one batch of the {} that an epoch has; set it higher",
         train_.epochs, std::ssize(borders_.front()) - 1);
  }
}

void BatchPlan::refuse_epoch(std::int64_t epoch) const {
  std::int64_t tokens = 0;
  for (const std::uint32_t sample : samples_.values()) {
    tokens += table_.length(sample);
  }
  fail(ExitCode::bad_config,
       "epoch {} has {} samples with {} tokens and fills no global batch of {} packs of {} slots{}; set {}, or add "
       "samples",
       epoch, order_.size(), tokens, train_.packs, train_.pack_tokens,
       train_.drop_last ? " (the last one is dropped)" : "", proposal());
}

std::string BatchPlan::proposal() const {
  for (std::int64_t packs = train_.packs / 2; packs > 0; packs /= 2) {
    if (planner(packs, train_.pack_tokens, train_.drop_last).take(0) > 0) {
      return fmt::format("train.packs = {}", packs);
    }
  }
  for (std::int64_t slots = train_.pack_tokens / 2; slots >= least_slots_; slots /= 2) {
    if (planner(1, slots, train_.drop_last).take(0) > 0) {
      return fmt::format("train.packs = 1 and train.pack_tokens = {}", slots);
    }
  }
  return "train.packs = 1 and train.drop_last = false";
}

std::vector<std::int64_t> BatchPlan::batches_by_epoch() const {
  std::vector<std::int64_t> batches;
  for (std::size_t epoch = 0; epoch + 1 < first_step_.size(); ++epoch) {
    batches.push_back(first_step_[epoch + 1] - first_step_[epoch]);
  }
  return batches;
}

std::int64_t BatchPlan::epoch_of(std::int64_t step) const {
  ensure(step >= 1 && step <= steps_, "a step of the plan");
  return std::upper_bound(first_step_.begin(), first_step_.end(), step - 1) - first_step_.begin() - 1;
}

void BatchPlan::batch(std::int64_t step, Batch& batch) {
  batch.step = step;
  batch.epoch = epoch_of(step);
  load_epoch(batch.epoch);
  const auto epoch = static_cast<std::size_t>(batch.epoch);
  const auto index = static_cast<std::size_t>(step - 1 - first_step_[epoch]);
  batch.epoch_position = borders_[epoch][index];
  packer_.assign(batch.epoch_position, borders_[epoch][index + 1] - batch.epoch_position, packed_);
  batch.first = packed_.first;
  batch.samples.clear();
  for (const std::int64_t position : packed_.positions) {
    batch.samples.push_back(samples_.values()[static_cast<std::size_t>(position)]);
  }
  batch.supervised.assign(static_cast<std::size_t>(packs()), 0);
  batch.used.assign(static_cast<std::size_t>(packs()), 0);
  batch.supervised_total = 0;
  batch.used_total = 0;
  for (std::int64_t pack = 0; pack < packs(); ++pack) {
    count_pack(pack, batch);
  }
}

void BatchPlan::count_pack(std::int64_t pack, Batch& batch) const {
  const bool all = train_.loss == "all";
  const auto p = static_cast<std::size_t>(pack);
  for (const std::uint32_t sample : batch.pack(pack)) {
    batch.used[p] += table_.length(sample);
    batch.supervised[p] += all ? table_.length(sample) : table_.response(sample);
  }
  batch.used_total += batch.used[p];
  batch.supervised_total += batch.supervised[p];
}

}  // namespace hrm::data
