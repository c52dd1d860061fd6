#include "infer/generate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.hpp"
#include "model/network.hpp"
#include "tests/infer/small_model.hpp"
#include "tests/support/test_device.hpp"

namespace hrm::infer {
namespace {

using test::SmallModel;

std::vector<Tokens> prompts_of(const SmallModel& model) {
  const PromptEncoder encoder(model.tokenizer);
  std::vector<Tokens> prompts;
  for (const char* text : {"one", "two three", "", "a question", "answer!", "and its answer", "zzz"}) {
    prompts.push_back(encoder.encode(text, "direct", "here"));
  }
  return prompts;
}

std::vector<Answer> answers_of(const SmallModel& model, const std::vector<Tokens>& prompts,
                               const GenerateOptions& options) {
  const auto alone = comm::serial_communicator();
  comm::Grid grid = comm::make_grid(*alone, 1);
  grid.device = &hrm::test::test_device();
  return generate(grid, model.view(), prompts, options);
}

bool same(const Answer& a, const Answer& b) {
  return a.tokens == b.tokens && a.finish == b.finish;
}

/// The most likely next token of `tokens`, whose first `prefix` are the prompt, by a full evaluation.
std::int32_t next_token(model::Network& network, const SmallModel& model, Tokens tokens, std::size_t prefix) {
  const auto used = static_cast<std::int32_t>(tokens.size());
  Tokens positions(64);
  std::iota(positions.begin(), positions.begin() + used, 0);
  tokens.resize(64);
  const Tokens bounds{0, used};
  const Tokens prefixes{static_cast<std::int32_t>(prefix)};
  const std::vector<float> logits = network.inspect({tokens, positions, bounds, prefixes, {}}).logits;
  const auto row = logits.begin() + (used - 1) * model.config.vocab_size;
  return static_cast<std::int32_t>(std::max_element(row, row + model.tokenizer.vocab_size()) - row);
}

TEST(PromptEncoder, PutsTagsAroundTheText) {
  const text::Tokenizer tokenizer = test::small_tokenizer();
  const text::SpecialRoles roles = text::roles(tokenizer);

  const Tokens tokens = PromptEncoder(tokenizer).encode("<|im_end|>", "synth,cot", "here");

  ASSERT_GT(tokens.size(), 4U);
  EXPECT_EQ(tokens[0], static_cast<std::int32_t>(roles.begin));
  EXPECT_EQ(tokens[1], static_cast<std::int32_t>(roles.synth));
  EXPECT_EQ(tokens[2], static_cast<std::int32_t>(roles.cot));
  // The name of a special token inside the text is text.
  EXPECT_EQ(std::ranges::count(tokens, static_cast<std::int32_t>(roles.end_of_instruction)), 1);
  EXPECT_EQ(tokens.back(), static_cast<std::int32_t>(roles.end_of_instruction));
}

TEST(PromptEncoder, RefusesAnUnknownCondition) {
  const text::Tokenizer tokenizer = test::small_tokenizer();

  EXPECT_THROW(PromptEncoder(tokenizer).encode("x", "direct,fast", "here"), InputError);
}

TEST(Generate, GreedyEqualsFullEvaluations) {
  const SmallModel model;
  const std::vector<Tokens> prompts = prompts_of(model);

  const auto network = model::Network::make(model.config, Precision::fp32, 64, model::Purpose::evaluation);
  network->load(model.flat, model.zl_init);

  const std::vector<Answer> answers = answers_of(model, prompts, {.max_tokens = 5});

  for (std::size_t i = 0; i < prompts.size(); ++i) {
    Tokens tokens = prompts[i];
    for (const std::int32_t token : answers[i].tokens) {
      ASSERT_EQ(token, next_token(*network, model, tokens, prompts[i].size())) << "prompt " << i;
      tokens.push_back(token);
    }
  }
}

TEST(Generate, AnswersDoNotDependOnTheBatch) {
  const SmallModel model;
  const std::vector<Tokens> prompts = prompts_of(model);
  GenerateOptions options{.max_tokens = 12};

  const std::vector<Answer> together = answers_of(model, prompts, options);
  options.batch = 2;
  const std::vector<Answer> two_by_two = answers_of(model, prompts, options);

  EXPECT_TRUE(std::ranges::equal(together, two_by_two, same));
  EXPECT_TRUE(same(answers_of(model, {prompts[3]}, options).front(), together[3]));
}

TEST(Generate, DrawsBelongToThePrompt) {
  const SmallModel model;
  const std::vector<Tokens> prompts = prompts_of(model);
  GenerateOptions options{.max_tokens = 12, .sampling = {.temperature = 2, .seed = 5}};

  const std::vector<Answer> together = answers_of(model, prompts, options);
  options.batch = 3;

  EXPECT_TRUE(std::ranges::equal(answers_of(model, prompts, options), together, same));
  EXPECT_FALSE(same(answers_of(model, {prompts[0], prompts[0]}, options)[1], together[0]));
}

TEST(Generate, StopsAtMaxTokens) {
  const SmallModel model;

  for (const Answer& answer : answers_of(model, prompts_of(model), {.max_tokens = 1})) {
    EXPECT_LE(answer.tokens.size(), 1U);
    EXPECT_NE(answer.finish, Finish::context);
  }
}

TEST(Generate, StopsAtTheContext) {
  const SmallModel model(16);
  const std::vector<Tokens> prompts = prompts_of(model);

  const std::vector<Answer> answers = answers_of(model, prompts, {.max_tokens = 1000});

  EXPECT_TRUE(std::ranges::any_of(answers, [](const Answer& a) { return a.finish == Finish::context; }));
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    // P + R - 1 positions, where R counts the last token, which is not fed back.
    EXPECT_LE(prompts[i].size() + answers[i].tokens.size(), 17U);
  }
}

TEST(Generate, TooLongAPromptHasNoAnswer) {
  const SmallModel model(8);
  const PromptEncoder encoder(model.tokenizer);
  const std::vector<Tokens> prompts{encoder.encode("a question and its answer, a question", "direct", "here"),
                                    encoder.encode("one", "direct", "here")};

  const std::vector<Answer> answers = answers_of(model, prompts, {.max_tokens = 2});

  EXPECT_EQ(answers[0].finish, Finish::prompt_too_long);
  EXPECT_NE(answers[1].finish, Finish::prompt_too_long);
}

}  // namespace
}  // namespace hrm::infer
