#include "data/loader.hpp"

#include <gtest/gtest.h>

#include "base/error.hpp"
#include "data/eval_plan.hpp"
#include "written_corpus.hpp"

namespace hrm::data {
namespace {

constexpr std::int64_t samples = 400;
constexpr std::int64_t slots = 96;

struct LoaderTest : testing::Test {
  LoaderTest() : folder(fmt::format("hrm-loader-{}", getpid())) {
    write_corpus(*group, folder.path() / "shards", samples);
    corpus = std::make_unique<SharedCorpus>(*group, folder.path() / "shards");
    train.packs = 3;
    train.pack_tokens = slots;
    train.epochs = 2;
    plan = std::make_unique<BatchPlan>(corpus->node(), corpus->table(), train, slots, std::span<const SamplingRule>{});
  }
  Loader loader(comm::PackRange share) { return {*group, *corpus, *plan, share, Supervise::response}; }

  std::unique_ptr<comm::Communicator> group = comm::serial_communicator();
  TemporaryFolder folder;
  config::TrainConfig train;
  std::unique_ptr<SharedCorpus> corpus;
  std::unique_ptr<BatchPlan> plan;
};

TEST_F(LoaderTest, CorpusHasSeveralShardsAndItsLengths) {
  EXPECT_GT(corpus->info().shards.size(), 2U);
  ASSERT_EQ(corpus->table().count(), samples);
  for (std::int64_t i = 0; i < samples; ++i) {
    const WrittenSample sample(static_cast<std::uint64_t>(i));
    EXPECT_EQ(corpus->table().length(i), std::ssize(sample.tokens) - 1);
    EXPECT_EQ(corpus->table().stratum[static_cast<std::size_t>(i)], i % 3);
  }
}

TEST_F(LoaderTest, PacksHoldThePlannedSamplesOfEveryStep) {
  Loader all = loader({0, 3});

  for (std::int64_t step = 1; step <= plan->steps(); ++step) {
    const std::vector<Pack>& packs = all.load(step);
    ASSERT_EQ(all.batch().step, step);
    for (std::int64_t p = 0; p < 3; ++p) {
      const Pack& pack = packs[static_cast<std::size_t>(p)];
      const Pack wanted = expected_pack(all.batch().pack(p), slots);
      ASSERT_EQ(pack.inputs, wanted.inputs) << "step " << step;
      ASSERT_EQ(pack.supervised_labels, wanted.supervised_labels);
      ASSERT_EQ(std::ssize(pack.supervised_rows), all.batch().supervised[static_cast<std::size_t>(p)]);
      ASSERT_EQ(pack.used, all.batch().used[static_cast<std::size_t>(p)]);
    }
  }
}

TEST_F(LoaderTest, AShareIsPartOfTheBatchAndStepsMayJump) {
  Loader all = loader({0, 3});
  Loader share = loader({1, 2});
  for (const std::int64_t step : {plan->steps(), std::int64_t{2}, std::int64_t{3}, std::int64_t{3}, std::int64_t{1}}) {
    const std::vector<std::int32_t> wanted = all.load(step)[1].inputs;

    EXPECT_EQ(share.load(step).size(), 1U);
    EXPECT_EQ(share.packs()[0].inputs, wanted);
  }
}

TEST_F(LoaderTest, HeldOutPacksAreReadByTheSameReader) {
  const EvalPlan eval(corpus->table(), slots);
  PackReader reader(*corpus, 1, slots, Supervise::response);
  Pack pack(slots);
  for (std::int64_t p = 0; p < eval.packs(); ++p) {
    reader.start(eval.samples(), eval.first().subspan(static_cast<std::size_t>(p), 2));
    reader.finish();
    reader.build(0, pack);

    ASSERT_EQ(pack.inputs, expected_pack(eval.pack(p), slots).inputs);
  }
}

TEST_F(LoaderTest, MissingFolderIsMissingInput) {
  try {
    SharedCorpus(*group, folder.path() / "elsewhere");
    FAIL() << "a missing folder was opened";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::no_input);
  }
}

}  // namespace
}  // namespace hrm::data
