#include "infer/held_out.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/error.hpp"
#include "infer/prompt.hpp"
#include "tests/infer/small_model.hpp"
#include "tests/infer/test_folder.hpp"
#include "text/prepare.hpp"

namespace hrm::infer {
namespace {

namespace fs = std::filesystem;
using test::SmallModel;

/// A small corpus of two strata, prepared with the model's tokenizer.
fs::path prepare_corpus(comm::Communicator& group, const SmallModel& model) {
  const fs::path folder = test::test_folder();
  test::write_file("tokenizer.json", model.tokenizer.json());
  test::write_file("samples.jsonl",
                   "{\"instruction\":\"one\",\"response\":\"two\",\"source\":\"a\"}\n"
                   "{\"instruction\":\"a question\",\"response\":\"its answer\",\"source\":\"b\"}\n"
                   "{\"instruction\":\"three\",\"response\":\"one\",\"source\":\"a\"}\n");
  text::PrepareOptions options;
  options.inputs = {folder / "samples.jsonl"};
  options.tokenizer = folder / "tokenizer.json";
  options.out = folder / "shards";
  options.replace = true;
  text::prepare(group, options);
  return options.out;
}

HeldOutLoss loss_with_slots(const SmallModel& model, data::SharedCorpus& corpus, std::int64_t slots) {
  const auto network = model::Network::make(model.config, Precision::fp32, slots, model::Purpose::evaluation);
  network->load(model.flat, model.zl_init);
  return held_out_loss(comm::make_grid(corpus.group(), 1), *network, slots, corpus);
}

TEST(HeldOutLoss, DoesNotDependOnThePacks) {
  const SmallModel model;
  const auto alone = comm::serial_communicator();
  data::SharedCorpus corpus(*alone, prepare_corpus(*alone, model));

  const HeldOutLoss narrow = loss_with_slots(model, corpus, 24);
  const HeldOutLoss wide = loss_with_slots(model, corpus, 128);

  EXPECT_NEAR(narrow.total.loss(), wide.total.loss(), 1e-5 * wide.total.loss());
  EXPECT_EQ(narrow.accuracy, wide.accuracy);
}

TEST(HeldOutLoss, StrataAddUp) {
  const SmallModel model;
  const auto alone = comm::serial_communicator();
  data::SharedCorpus corpus(*alone, prepare_corpus(*alone, model));

  const HeldOutLoss loss = loss_with_slots(model, corpus, 64);

  ASSERT_EQ(loss.strata.size(), 2U);
  EXPECT_EQ(loss.strata[0].name, "a");
  EXPECT_EQ(loss.strata[0].samples, 2);
  EXPECT_EQ(loss.strata[0].tokens + loss.strata[1].tokens, loss.total.tokens);
  EXPECT_NEAR(loss.strata[0].loss_sum + loss.strata[1].loss_sum, loss.total.loss_sum, 1e-9);
  // Random weights know little: about as much as a uniform guess (logits have a variance near 1, so half a nat more).
  EXPECT_NEAR(loss.total.loss(), std::log(model.config.vocab_size) + 0.5, 0.7);
}

TEST(HeldOutLoss, RefusesAnotherTokenizer) {
  const SmallModel model;
  const auto alone = comm::serial_communicator();
  const data::SharedCorpus corpus(*alone, prepare_corpus(*alone, model));
  const text::Tokenizer other = text::test::train_small({"another text"}, 290);

  try {
    check_held_out(corpus, other, model.config, "model.h5");
    FAIL() << "shards of another tokenizer were taken";
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
  }
}

TEST(HeldOutLoss, RefusesSamplesThatTheModelCannotTake) {
  const SmallModel model(6);
  const auto alone = comm::serial_communicator();
  const data::SharedCorpus corpus(*alone, prepare_corpus(*alone, model));

  EXPECT_THROW(check_held_out(corpus, model.tokenizer, model.config, "model.h5"), InputError);
}

}  // namespace
}  // namespace hrm::infer
