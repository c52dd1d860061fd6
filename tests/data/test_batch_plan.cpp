#include "data/batch_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/error.hpp"
#include "base/stop_request.hpp"
#include "sample_columns.hpp"

namespace hrm::data {
namespace {

config::TrainConfig small_run() {
  config::TrainConfig train;
  train.packs = 4;
  train.pack_tokens = 128;
  train.epochs = 2;
  train.seed = 1;
  return train;
}

struct Fixture {
  explicit Fixture(std::int64_t samples) : columns(random_columns(samples, {"a", "b"})), table(columns.table()) {}
  BatchPlan plan(const config::TrainConfig& train) { return {*group, table, train, 64, {}}; }
  std::string refusal(const config::TrainConfig& train, std::int64_t max_seq_len = 64) {
    try {
      BatchPlan(*group, table, train, max_seq_len, {});
    } catch (const InputError& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_config);
      return error.what();
    }
    return "";
  }
  std::unique_ptr<comm::Communicator> group = comm::serial_communicator();
  SampleColumns columns;
  SampleTable table;
};

TEST(BatchPlan, EmitsWhatThePlannerEmitsOverTheEpochs) {
  Fixture fixture(300);
  BatchPlan plan = fixture.plan(small_run());

  std::int64_t expected = 0;
  std::vector<std::vector<std::uint32_t>> shown;
  for (std::int64_t e = 0; e < 2; ++e) {
    const EpochOrder order(fixture.table, plan.shares(), 1);
    std::vector<std::uint32_t> samples(300);
    order.fill(e, samples);
    std::vector<std::int64_t> lengths;
    for (const std::uint32_t sample : samples) {
      lengths.push_back(fixture.table.length(sample));
    }
    for (const PackedPositions& batch : plan_epoch(lengths, 128, 4, true)) {
      ++expected;
      Batch planned;
      plan.batch(expected, planned);
      std::vector<std::uint32_t> wanted;
      for (const std::int64_t position : batch.positions) {
        wanted.push_back(samples[static_cast<std::size_t>(position)]);
      }
      EXPECT_EQ(planned.samples, wanted);
      EXPECT_EQ(planned.first, batch.first);
      EXPECT_EQ(planned.epoch, e);
    }
  }
  EXPECT_EQ(plan.steps(), expected);
}

TEST(BatchPlan, CountsSlotsAndLabels) {
  Fixture fixture(300);
  config::TrainConfig train = small_run();
  Batch response;
  Batch all;

  fixture.plan(train).batch(3, response);
  train.loss = "all";
  fixture.plan(train).batch(3, all);

  std::int64_t labels = 0;
  std::int64_t slots = 0;
  for (const std::uint32_t sample : response.samples) {
    labels += fixture.table.response(sample);
    slots += fixture.table.length(sample);
  }
  EXPECT_EQ(response.supervised_total, labels);
  EXPECT_EQ(response.used_total, slots);
  EXPECT_EQ(all.supervised_total, slots);
  EXPECT_EQ(response.supervised[0] + response.supervised[1] + response.supervised[2] + response.supervised[3], labels);
}

TEST(BatchPlan, SeeksToAnyStep) {
  Fixture fixture(300);
  BatchPlan straight = fixture.plan(small_run());
  BatchPlan restarted = fixture.plan(small_run());
  std::vector<Batch> batches(static_cast<std::size_t>(straight.steps()));
  for (std::int64_t step = 1; step <= straight.steps(); ++step) {
    straight.batch(step, batches[static_cast<std::size_t>(step - 1)]);
  }

  for (const std::int64_t step : {straight.steps(), std::int64_t{1}, straight.steps() / 2}) {
    Batch batch;
    restarted.batch(step, batch);
    const Batch& wanted = batches[static_cast<std::size_t>(step - 1)];
    EXPECT_EQ(batch.samples, wanted.samples);
    EXPECT_EQ(batch.epoch_position, wanted.epoch_position);
  }
}

TEST(BatchPlan, MaxStepsWinsAndGoesOnOverEpochs) {
  Fixture fixture(300);
  config::TrainConfig train = small_run();
  train.epochs = 1;
  const std::int64_t per_epoch = fixture.plan(train).steps();
  train.max_steps = 3 * per_epoch + 1;

  BatchPlan plan = fixture.plan(train);
  Batch last;
  plan.batch(plan.steps(), last);

  EXPECT_EQ(plan.steps(), train.max_steps);
  EXPECT_GE(last.epoch, 2);
}

TEST(BatchPlan, FractionOfAnEpochIsAFractionOfItsBatches) {
  Fixture fixture(300);
  config::TrainConfig train = small_run();
  train.epochs = 2;
  const std::vector<std::int64_t> whole = fixture.plan(train).batches_by_epoch();
  train.epochs = 1.5;

  EXPECT_EQ(fixture.plan(train).steps(), whole[0] + whole[1] / 2);
}

TEST(BatchPlan, FractionsLoseNoBatchByRounding) {
  Fixture fixture(300);
  config::TrainConfig train = small_run();
  train.epochs = 3;
  const std::vector<std::int64_t> whole = fixture.plan(train).batches_by_epoch();

  for (std::int64_t more = 0; more < whole[2]; ++more) {
    train.epochs = 2 + static_cast<double>(more) / static_cast<double>(whole[2]);
    EXPECT_EQ(fixture.plan(train).steps(), whole[0] + whole[1] + more);
  }
}

TEST(BatchPlan, CorpusBelowOneBatchIsRefusedWithAProposalThatFits) {
  Fixture fixture(20);
  config::TrainConfig train = small_run();
  train.packs = 32;

  const std::string message = fixture.refusal(train);

  const std::size_t at = message.find("set train.packs = ");
  ASSERT_NE(at, std::string::npos) << message;
  train.packs = std::stoll(message.substr(at + std::string("set train.packs = ").size()));
  EXPECT_GT(fixture.plan(train).steps(), 0);
}

TEST(BatchPlan, TinyCorpusIsToldToKeepItsLastBatch) {
  Fixture fixture(2);
  config::TrainConfig train = small_run();

  EXPECT_NE(fixture.refusal(train).find("train.packs = 1 and train.drop_last = false"), std::string::npos);
  train.packs = 1;
  train.drop_last = false;
  EXPECT_EQ(fixture.plan(train).steps(), 2);
}

TEST(BatchPlan, SamplesThatFitNowhereAreRefusedWithTheRepair) {
  Fixture fixture(50);
  fixture.columns.add(100, 50, 0);
  fixture.table = fixture.columns.table();

  EXPECT_NE(fixture.refusal(small_run()).find("set model.max_seq_len to at least 149"), std::string::npos);
  EXPECT_NE(fixture.refusal(small_run(), 200).find("set train.pack_tokens to at least 149"), std::string::npos);
}

TEST(BatchPlan, RunsOfEndlessLengthAreRefusedBeforeTheyArePlanned) {
  Fixture fixture(300);
  config::TrainConfig train = small_run();
  train.max_steps = most_planned_steps + 1;

  EXPECT_NE(fixture.refusal(train).find("train.max_steps = 100000001"), std::string::npos);
}

TEST(BatchPlan, PlanningLooksForARequestToStop) {
  Fixture fixture(300);
  stop_at(0);

  try {
    fixture.plan(small_run());
    ADD_FAILURE() << "planned to the end";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::stopped);
  }

  stop_at(std::numeric_limits<double>::infinity());
}

TEST(BatchPlan, LengthOfTheRunIsRequired) {
  Fixture fixture(300);
  config::TrainConfig train = small_run();
  train.epochs = 0;

  EXPECT_NE(fixture.refusal(train).find("train.epochs or train.max_steps"), std::string::npos);
}

}  // namespace
}  // namespace hrm::data
