#include "train/retention.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <set>

#include "base/digest.hpp"

namespace hrm::train {
namespace {

using Steps = std::vector<std::int64_t>;

constexpr std::int64_t packs = 4;

config::CheckpointConfig keep(std::int64_t last, std::int64_t interval = 0, std::int64_t every = 0) {
  config::CheckpointConfig config;
  config.keep_last = last;
  config.interval_steps = interval;
  config.keep_every = every;
  return config;
}

config::GuardConfig after_skips(std::int64_t skips) {
  config::GuardConfig config;
  config.max_skips = skips;
  return config;
}

/// A guard that has refused these steps in a row.
Guard refusing(const Steps& steps, std::int64_t max_skips = 3) {
  Guard guard(after_skips(max_skips));
  for (const std::int64_t step : steps) {
    guard.note({step, 5, 9, 1}, Verdict::spike);
  }
  return guard;
}

/// A run without arithmetic: its "weights" are a digest of the steps that were accepted, and whether a step is refused
/// depends on nothing but the weights and the step.
class Course {
 public:
  Course(const config::CheckpointConfig& checkpoint, const config::GuardConfig& guard)
      : checkpoint_(checkpoint), guard_config_(guard), guard_(guard) {}

  /// To the end, with a stop and a new start after each of `stops`.
  void run(std::int64_t end, const std::set<std::int64_t>& stops) {
    std::set<std::int64_t> left = stops;
    while (step_ < end || guard_.wants_rollback()) {
      if (guard_.wants_rollback()) {
        go_back();
      }
      take_step();
      if (left.erase(step_) > 0) {
        save();
        restore(step_);
      } else if (step_ % checkpoint_.interval_steps == 0 && !guard_.wants_rollback()) {
        save();
      }
    }
  }
  /// What has been gone back to, and the weights in the end.
  std::pair<Steps, std::uint64_t> outcome() const { return {targets_, weights_}; }

 private:
  struct File {
    std::uint64_t weights;
    io::CheckpointMeta meta;
  };

  void take_step() {
    ++step_;
    if (guard_.passes_over(step_)) {
      return;
    }
    const std::uint64_t outcome = splitmix64(weights_ ^ static_cast<std::uint64_t>(step_));
    const bool refused = step_ > 2 * checkpoint_.interval_steps && outcome % 8 < 4;
    guard_.note({step_, 5, 2, 1}, refused ? Verdict::spike : Verdict::good);
    weights_ = refused ? weights_ : outcome;
  }
  Steps steps() const {
    Steps all;
    for (auto file = files_.rbegin(); file != files_.rend(); ++file) {
      all.push_back(file->first);
    }
    return all;
  }
  void save() {
    File& file = files_[step_];
    file.weights = weights_;
    file.meta.step = step_;
    file.meta.packs = packs;
    guard_.store(file.meta);
    for (const std::int64_t old : superseded(steps(), {step_, false, guard_}, checkpoint_)) {
      files_.erase(old);
    }
    most_ = std::max(most_, std::ssize(files_));
  }
  void restore(std::int64_t step) {
    guard_ = Guard(guard_config_);
    guard_.restore(files_.at(step).meta);
    weights_ = files_.at(step).weights;
    step_ = step;
  }
  void go_back() {
    const Steps targets =
        rollback_targets(steps(), checkpoint_.interval_steps, guard_.blamed().first, guard_.refused().front());
    ASSERT_FALSE(targets.empty()) << "nothing to go back to at step " << step_;
    targets_.push_back(targets.front());
    guard_.roll_back(files_.at(targets.front()).meta);
    step_ = targets.front();
    weights_ = files_.at(step_).weights;
    files_.erase(files_.upper_bound(step_), files_.end());
  }

  config::CheckpointConfig checkpoint_;
  config::GuardConfig guard_config_;
  Guard guard_;
  std::int64_t step_ = 0;
  std::uint64_t weights_ = 1;
  std::map<std::int64_t, File> files_;
  Steps targets_;

 public:
  std::ptrdiff_t most_ = 0;  ///< files at a time
};

/// However a run is stopped, among refused steps, at a save, before a rollback: the same rollbacks, the same weights.
void check_stops(const config::CheckpointConfig& checkpoint, const config::GuardConfig& guard) {
  constexpr std::int64_t end = 120;
  const auto outcome = [&](const std::set<std::int64_t>& stops) {
    Course course(checkpoint, guard);
    course.run(end, stops);
    // Of a stop, of keep_last, and what a rollback would take.
    EXPECT_LE(course.most_, checkpoint.keep_last + 2);
    return course.outcome();
  };
  const auto straight = outcome({});
  ASSERT_GE(straight.first.size(), 3U) << "too few rollbacks to tell anything";
  std::set<std::int64_t> all;
  for (std::int64_t stop = 1; stop < end; ++stop) {
    ASSERT_EQ(outcome({stop}), straight) << "stopped after " << stop;
    ASSERT_EQ(outcome({stop, stop + 1, stop + 3}), straight) << "stopped from " << stop << " on";
    all.insert(stop);
  }
  ASSERT_EQ(outcome(all), straight);
}

}  // namespace

TEST(Retention, StopsChangeNoRollback) {
  for (const std::int64_t last : {1, 2}) {
    for (const std::int64_t interval : {1, 4, 7}) {
      for (const std::int64_t skips : {1, 2, 3}) {
        SCOPED_TRACE(testing::Message() << "keep_last " << last << " interval " << interval << " max_skips " << skips);
        check_stops(keep(last, interval), after_skips(skips));
      }
    }
  }
}

TEST(Retention, RollbackPrefersTheNewestFromBeforeTheBlamedSteps) {
  EXPECT_EQ(rollback_targets({40, 30, 20, 10}, 0, 25, 28), (Steps{20, 10}));
  EXPECT_EQ(rollback_targets({27, 26, 20}, 0, 21, 28), (Steps{20, 26, 27}));
  EXPECT_EQ(rollback_targets({28, 29}, 0, 25, 28), Steps{});
}

TEST(Retention, RollbackPrefersRegularCheckpoints) {
  EXPECT_EQ(rollback_targets({22, 20, 15, 10}, 10, 25, 28), (Steps{20, 10, 22, 15}));
  EXPECT_EQ(rollback_targets({22, 20}, 20, 20, 23), (Steps{20, 22}));
  EXPECT_EQ(rollback_targets({12, 9}, 15, 14, 16), (Steps{12, 9}));
}

TEST(Retention, NewestAndMilestonesStay) {
  const Guard calm((config::GuardConfig()));

  EXPECT_EQ(superseded({35, 30, 25, 20, 15, 10}, {35, false, calm}, keep(2, 0, 20)), (Steps{25, 15, 10}));
  EXPECT_EQ(superseded({35, 30}, {35, false, calm}, keep(3)), Steps{});
}

TEST(Retention, NoRegularOneGoesWhereARollbackIsWanted) {
  EXPECT_EQ(superseded({16, 15, 14, 12, 8}, {16, false, refusing({14, 15, 16})}, keep(1, 4)), (Steps{15, 14}));
  EXPECT_EQ(superseded({16, 12}, {16, false, refusing({14, 15, 16})}, keep(1)), Steps{});
}

TEST(Retention, WhatARollbackWouldTakeStaysWhileStepsAreRefused) {
  EXPECT_EQ(superseded({15, 12}, {15, false, refusing({14, 15})}, keep(1, 15)), Steps{});
  EXPECT_EQ(superseded({16, 12, 8, 4}, {16, false, refusing({15, 16})}, keep(1, 4)), (Steps{12, 4}));
  EXPECT_EQ(superseded({16, 12, 8, 4}, {16, false, refusing({})}, keep(1, 4)), (Steps{12, 8, 4}));
}

TEST(Retention, EndOfThePlanIsASaveLikeAnyOther) {
  const Guard calm((config::GuardConfig()));

  EXPECT_EQ(superseded({10, 9, 6, 3}, {10, true, calm}, keep(3, 3)), Steps{3});
  EXPECT_EQ(superseded({10, 9, 6, 3}, {10, false, calm}, keep(3, 3)), Steps{}) << "a stop";
  EXPECT_EQ(superseded({10, 9, 6}, {10, true, refusing({8, 9, 10})}, keep(1, 3)), Steps{}) << "a rollback is wanted";
}

TEST(Retention, StopsTakeNoPlaceOfRegularCheckpoints) {
  const Guard calm((config::GuardConfig()));

  EXPECT_EQ(superseded({102, 100, 96}, {102, false, calm}, keep(2, 4)), Steps{});
  EXPECT_EQ(superseded({103, 102, 100, 96}, {103, false, calm}, keep(2, 4)), Steps{102});
  EXPECT_EQ(superseded({104, 102, 100, 96}, {104, false, calm}, keep(2, 4)), (Steps{102, 96}));
  EXPECT_EQ(superseded({102, 100, 96, 92}, {102, false, calm}, keep(1, 4)), Steps{})
      << "a regular save deletes regular ones";
}

}  // namespace hrm::train
