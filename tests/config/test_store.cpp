#include <gtest/gtest.h>

#include <cmath>

#include "base/error.hpp"
#include "config/fields.hpp"
#include "config/resolve.hpp"
#include "config/value.hpp"

namespace hrm::config {
namespace {

RunConfig unusual() {
  RunConfig config;
  config.model.layers = 6;
  config.model.embed_scale = 1.0 / 3;
  config.model.half_layers = false;
  config.train.ema = 0.1;
  config.train.epochs = 1e-7;
  config.data.path = " a #b \"c\"";
  config.run.time_limit = "01:02:03";
  return config;
}

ModelConfig sized(std::int64_t hidden) {
  ModelConfig model;
  model.layers = 4;
  model.hidden_size = hidden;
  model.num_heads = 4;
  return model;
}

TEST(Store, TextIsReadBackExactly) {
  const RunConfig config = unusual();

  const RunConfig again = from_text(to_text(config), "x.h5");

  EXPECT_EQ(to_text(again), to_text(config));
  EXPECT_EQ(again.model.embed_scale, 1.0 / 3);
  EXPECT_EQ(again.train.epochs, 1e-7);
  EXPECT_EQ(again.data.path, config.data.path);
}

TEST(Store, PrintedConfigurationIsReadBackToo) {
  const RunConfig config = unusual();

  EXPECT_EQ(to_text(from_text(print({config, {{"model.layers", "a.cfg:3"}}, {}}), "printed")), to_text(config));
}

TEST(Store, PrintNamesTheOrigin) {
  const std::string text = print({unusual(), {{"model.layers", "a.cfg:3"}}, {}});

  EXPECT_NE(text.find("layers = 6  # a.cfg:3\n"), std::string::npos);
  EXPECT_NE(text.find("packs = 16  # default\n"), std::string::npos);
}

TEST(Store, DamagedTextIsBadData) {
  try {
    from_text("[model]\nlayers = many\n", "x.h5");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    EXPECT_NE(std::string(error.what()).find("x.h5:2"), std::string::npos);
  }
}

TEST(Store, DefaultsLieInTheirOwnRanges) {
  const RunConfig defaults;
  RunConfig copy;
  for_each_field(defaults, [&](const FieldInfo& info, const auto& value) {
    EXPECT_NO_THROW(set_field(copy, std::string(info.key), value_text(value), "default")) << info.key;
  });
}

TEST(Store, IdentityTellsWhatDiffers) {
  RunConfig other = unusual();
  other.train.seed = 3;
  other.train.learning_rate = 9;

  const std::string text = difference(identity(unusual(), "aa"), identity(other, "bb"));

  EXPECT_EQ(text, "train.seed: stored 0, given 3\ncorpus digest: stored aa, given bb\n");
}

TEST(Store, IdentityOfTheSameRunIsTheSame) {
  EXPECT_EQ(difference(identity(unusual(), "aa", "s"), identity(unusual(), "aa", "s")), "");
}

TEST(Store, IdentityNoticesAnEntryMore) {
  Identity stored = identity(unusual(), "aa");
  stored.emplace_back("more", "1");

  EXPECT_EQ(difference(stored, identity(unusual(), "aa")), "more: stored 1, given nothing\n");
}

TEST(ModelSizes, IntermediateSizeOfThePublishedModels) {
  EXPECT_EQ(intermediate_size(sized(1024)), 2816);
  EXPECT_EQ(intermediate_size(sized(1280)), 3584);
  EXPECT_EQ(intermediate_size(sized(1536)), 4096);
  EXPECT_EQ(intermediate_size(sized(1792)), 4864);
  EXPECT_EQ(intermediate_size(sized(2560)), 6912);
}

TEST(ModelSizes, IntermediateSizeRoundsTiesToEven) {
  ModelConfig model = sized(3);
  model.intermediate_multiple = 1;
  model.expansion = 1.25;  // 2.5

  EXPECT_EQ(intermediate_size(model), 2);
}

TEST(ModelSizes, CompleteModelFillsEveryZero) {
  const ModelConfig model = complete_model(sized(64), 300);

  EXPECT_EQ(model.vocab_size, 512);
  EXPECT_EQ(model.intermediate_size, 256);
  EXPECT_DOUBLE_EQ(model.embed_scale, 8);
  EXPECT_EQ(complete_model(model, 300).vocab_size, 512);
}

TEST(ModelSizes, EmbeddingScaleFollowsTheInitialiser) {
  ModelConfig model = sized(64);
  model.init = "fixed_normal";
  EXPECT_DOUBLE_EQ(complete_model(model, 300).embed_scale, 50);
  model.init = "megatron";
  EXPECT_DOUBLE_EQ(complete_model(model, 300).embed_scale, 8);
  model.init_std = 0.25;
  EXPECT_DOUBLE_EQ(complete_model(model, 300).embed_scale, 4);
}

TEST(ModelSizes, VocabularyMustHoldTheCorpus) {
  ModelConfig model = sized(64);
  EXPECT_THROW(complete_model(model, 0), InputError);
  model.vocab_size = 100;
  EXPECT_THROW(complete_model(model, 101), InputError);
  EXPECT_EQ(complete_model(model, 100).vocab_size, 256);
}

TEST(ModelSizes, MissingSizesAreNamed) {
  try {
    check_model(ModelConfig{});
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_config);
    EXPECT_NE(std::string(error.what()).find("model.layers"), std::string::npos);
  }
}

}  // namespace
}  // namespace hrm::config
