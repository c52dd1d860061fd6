#include <gtest/gtest.h>

#include "base/error.hpp"
#include "comm/grid.hpp"
#include "config/resolve.hpp"
#include "train/learner.hpp"
#include "train/progress.hpp"
#include "train/train_state.hpp"

namespace hrm::train {
namespace {

config::RunConfig small_run() {
  config::RunConfig config;
  config.model.layers = 2;
  config.model.hidden_size = 32;
  config.model.num_heads = 4;
  config.model.intermediate_multiple = 16;
  config.model.vocab_size = 64;
  config.model.vocab_multiple = 16;
  config.model.max_seq_len = 32;
  config.model = config::complete_model(config.model, 0);
  config.train.packs = 1;
  config.train.pack_tokens = 64;
  config.train.learning_rate = 1e-2;
  config.train.ema = 0.5;
  return config;
}

/// One pack of two equal samples.
struct TwoSamples {
  std::vector<std::int32_t> inputs = std::vector<std::int32_t>(64);
  std::vector<std::int32_t> positions = std::vector<std::int32_t>(64);
  std::vector<std::int32_t> cu_seqlens = {0, 20, 40};
  std::vector<std::int32_t> prefixes = {10, 10};
  std::vector<std::int32_t> rows;
  std::vector<std::int32_t> labels;
  std::vector<std::int32_t> sequence;

  TwoSamples() {
    for (int t = 0; t < 40; ++t) {
      inputs[static_cast<std::size_t>(t)] = t % 20 + 1;
      positions[static_cast<std::size_t>(t)] = t % 20;
      if (t % 20 >= 9) {
        rows.push_back(t);
        labels.push_back(t % 20 + 2);
        sequence.push_back(t / 20);
      }
    }
  }
  model::PackView view() const { return {inputs, positions, cu_seqlens, prefixes, {rows, labels, sequence}}; }
};

StepResult one_step(Learner& learner, const TwoSamples& pack) {
  learner.begin_step();
  learner.accumulate(pack.view(), {5}, static_cast<double>(pack.rows.size()));
  return learner.finish_step({5}, 1e-2);
}

}  // namespace

TEST(Learner, LearnsARepeatedPackByHeart) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  Learner learner(grid, small_run(), Precision::fp32);
  const TwoSamples pack;
  learner.initialise();

  const double first = one_step(learner, pack).sums.loss_sum;
  StepResult last;
  for (int i = 0; i < 40; ++i) {
    last = one_step(learner, pack);
  }

  EXPECT_LT(last.sums.loss_sum, 0.1 * first);
  EXPECT_EQ(last.sums.exact, 2);
}

TEST(Learner, ReplicatedAndShardedStateGiveTheSameBits) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  const TwoSamples pack;
  std::vector<std::vector<float>> weights;
  for (const std::int64_t zero : {0, 1}) {
    config::RunConfig config = small_run();
    config.parallel.zero = zero;
    Learner learner(grid, config, Precision::fp32);
    learner.initialise();
    one_step(learner, pack);
    std::vector<float> flat;
    learner.send_average([&](int, std::span<const std::byte> values) {
      const auto* first = reinterpret_cast<const float*>(values.data());
      flat.insert(flat.end(), first, first + values.size() / sizeof(float));
    });
    weights.emplace_back(flat.begin(), flat.end());
  }

  EXPECT_EQ(weights[0], weights[1]);
}

TEST(Learner, NonFiniteLossChangesNoWeight) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  Learner learner(grid, small_run(), Precision::fp32);
  const TwoSamples pack;
  learner.initialise();
  const std::vector<io::TensorPart> before = learner.checkpoint_parts();
  const std::vector<float> weights(before[0].data, before[0].data + before[0].count);

  learner.begin_step();
  learner.accumulate(pack.view(), {5}, 0.0);  // an infinite gradient
  const StepResult result = learner.finish_step({5}, 1e-2);

  EXPECT_FALSE(result.finite);
  EXPECT_TRUE(std::equal(weights.begin(), weights.end(), learner.checkpoint_parts()[0].data));
}

TEST(Learner, RefusedStepChangesNothing) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  Learner learner(grid, small_run(), Precision::fp32);
  const TwoSamples pack;
  learner.initialise();
  one_step(learner, pack);
  const auto state = [&] {
    std::vector<std::pair<std::int64_t, std::vector<float>>> tensors;
    for (const io::TensorPart& part : learner.checkpoint_parts()) {
      tensors.emplace_back(part.step, std::vector<float>(part.data, part.data + part.count));
    }
    return tensors;
  };
  const auto before = state();

  learner.begin_step();
  learner.accumulate(pack.view(), {5}, static_cast<double>(pack.rows.size()));
  const StepResult result = learner.finish_step({5}, 1e-2, {}, [](const StepResult&) { return false; });

  EXPECT_TRUE(result.finite);
  EXPECT_FALSE(result.updated);
  EXPECT_EQ(state(), before);
  EXPECT_EQ(one_step(learner, pack).sums.loss_sum, result.sums.loss_sum);
}

TEST(Learner, ReloadedWeightsHaveTheSameDigestsUntilTheNextUpdate) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  Learner learner(grid, small_run(), Precision::bf16);
  const TwoSamples pack;
  learner.initialise();

  const std::vector<std::uint64_t> first = learner.reload();
  const std::vector<std::uint64_t> again = learner.reload();
  one_step(learner, pack);
  const std::vector<std::uint64_t> updated = learner.reload();

  EXPECT_EQ(first.size(), learner.table().buckets.size() + 1);
  EXPECT_EQ(first, again);
  for (std::size_t bucket = 0; bucket < learner.table().buckets.size(); ++bucket) {
    EXPECT_NE(first[bucket], updated[bucket]);
  }
  EXPECT_EQ(first.back(), updated.back());  // zL_init is never trained
}

TEST(Learner, CheckpointListsEveryTensorWholeOnOneRank) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  Learner learner(grid, small_run(), Precision::fp32);

  std::int64_t model_elements = 0;
  for (const io::TensorPart& part : learner.checkpoint_parts()) {
    model_elements += part.path.starts_with("/model/") ? part.count : 0;
  }

  EXPECT_EQ(model_elements, learner.table().total_count + 32);  // and zL_init
}

TEST(TrainState, SurvivesACheckpointsMetadata) {
  TrainState state;
  state.run_id = "abc";
  state.step = 7;
  state.planned_steps = 9;
  state.epoch = 1;
  state.epoch_position = 33;
  state.samples_seen = 100;
  state.tokens_seen = 1000;
  state.bp_steps = 3;
  state.learning_rate = 0.25;
  state.wall_seconds = 1.5;
  RunFacts facts;
  facts.config = small_run();

  const TrainState back = from_meta(to_meta(state, facts, {}));

  EXPECT_EQ(std::tie(back.run_id, back.step, back.planned_steps, back.epoch, back.epoch_position, back.samples_seen,
                     back.tokens_seen, back.bp_steps, back.learning_rate, back.wall_seconds),
            std::tie(state.run_id, state.step, state.planned_steps, state.epoch, state.epoch_position,
                     state.samples_seen, state.tokens_seen, state.bp_steps, state.learning_rate, state.wall_seconds));
}

TEST(TrainState, AnotherSeedIsAnotherRun) {
  RunFacts stored;
  stored.config = small_run();
  stored.precision = "fp32";
  RunFacts given = stored;
  given.config.train.seed = 5;

  try {
    check_identity(to_meta({}, stored, {}), given, "x.h5");
    FAIL() << "accepted";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    EXPECT_NE(std::string(error.what()).find("train.seed"), std::string::npos);
  }
}

TEST(Progress, LineNamesStepLossRateAndTimeLeft) {
  EXPECT_EQ(to_text({120, 1000, 2.34514, 0.5117, 12345, 3725}),
            "step 120/1000  loss 2.3451  accuracy 0.512  12.3k tokens/s  ETA 1:02:05");
}

}  // namespace hrm::train
