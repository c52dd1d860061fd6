#include "data/loader.hpp"

#include <utility>

namespace hrm::data {

Supervise supervise_by(const std::string& loss) {
  return loss == "all" ? Supervise::all : Supervise::response;
}

Loader::Loader(comm::Communicator& group, SharedCorpus& corpus, BatchPlan& plan, comm::PackRange share,
               Supervise supervise)
    : group_(group),
      plan_(plan),
      share_(share),
      current_(std::make_unique<Stage>(corpus, share, plan.slots(), supervise)),
      ahead_(std::make_unique<Stage>(corpus, share, plan.slots(), supervise)) {
  for (std::int64_t i = 0; i < share.count(); ++i) {
    packs_.emplace_back(plan.slots());
  }
}

void Loader::begin(Stage& stage) {
  const auto borders =
      std::span(stage.batch.first)
          .subspan(static_cast<std::size_t>(share_.first), static_cast<std::size_t>(share_.count()) + 1);
  stage.reader.start(stage.batch.samples, borders);
}

/// Makes `step` the one that is being read.
void Loader::catch_up(std::int64_t step) {
  if (ahead_->batch.step == step) {
    return;
  }
  const bool busy = ahead_->batch.step != 0;
  comm::together(group_, [&] {
    if (busy) {
      ahead_->reader.finish();
    }
  });
  plan_.batch(step, ahead_->batch);
  comm::together(group_, [&] { begin(*ahead_); });
}

const std::vector<Pack>& Loader::load(std::int64_t step) {
  catch_up(step);
  std::swap(current_, ahead_);
  const bool more = step < plan_.steps();
  ahead_->batch.step = 0;
  if (more) {
    plan_.batch(step + 1, ahead_->batch);
  }
  comm::together(group_, [&] {
    current_->reader.finish();
    if (more) {
      begin(*ahead_);
    }
  });
  for (std::int64_t i = 0; i < share_.count(); ++i) {
    current_->reader.build(i, packs_[static_cast<std::size_t>(i)]);
  }
  return packs_;
}

}  // namespace hrm::data
