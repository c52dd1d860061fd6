#include "infer/generate.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.hpp"
#include "comm/activity.hpp"
#include "comm/rounds.hpp"
#include "comm/use_device.hpp"
#include "model/decoder.hpp"
#include "model/unroll.hpp"

namespace hrm::infer {
namespace {

constexpr std::int64_t most_lanes = 64;
constexpr std::int64_t cache_bytes = std::int64_t{1} << 30;
/// Slots that prompts share when they are read in; a longer prompt gets its own.
constexpr std::int64_t shared_slots = 960;
/// Between two looks at requests to stop, for which all ranks meet.
constexpr int steps_per_round = 16;

bool fits(const Model& model, const Tokens& prompt) {
  return std::ssize(prompt) <= model.config.max_seq_len;
}

/// Bytes of keys and values of one sequence of `context` tokens, on all ranks of a tensor group.
std::int64_t lane_bytes(const Model& model, std::int64_t context) {
  const auto calls = std::ssize(model::unroll(model.config, model::horizons(model.config).front()));
  const std::int64_t element = model.precision == Precision::bf16 ? 2 : 4;
  return calls * model.config.stack_layers() * 2 * context * model.config.hidden_size * element;
}

/// What the decoders of all ranks are made for; no lanes where no prompt fits.
model::DecoderLimits decoder_limits(const comm::Grid& grid, const Model& model, std::span<const Tokens> prompts,
                                    const GenerateOptions& options) {
  std::int64_t longest = 0;
  for (const Tokens& prompt : prompts) {
    longest = std::max<std::int64_t>(longest, fits(model, prompt) ? std::ssize(prompt) : 0);
  }
  if (longest == 0) {
    return {0, 0, 0};
  }
  // The last token of an answer is not fed back.
  const std::int64_t context =
      std::min(model.config.max_seq_len, longest + std::max<std::int64_t>(options.max_tokens, 1) - 1);
  const std::int64_t room = cache_bytes * grid.tensor->size() / lane_bytes(model, context);
  const std::int64_t wanted = options.batch > 0 ? options.batch : std::clamp<std::int64_t>(room, 1, most_lanes);
  const std::int64_t ranks = grid.data->size();
  const std::int64_t lanes = std::min<std::int64_t>(wanted, (std::ssize(prompts) + ranks - 1) / ranks);
  return {lanes, context, std::max(longest, std::min(shared_slots, lanes * longest))};
}

/// The prompts of one tensor group. Its ranks see the same logits and draw the same numbers, so they decide alike.
class Generation {
 public:
  /// `numbers` of the prompts, for the sampler. `decoder` has `lanes` lanes; null where no prompt of any rank fits.
  Generation(const Model& model, model::Decoder* decoder, std::int64_t lanes, std::span<const Tokens> prompts,
             std::span<const std::int64_t> numbers, const GenerateOptions& options);
  /// Up to `steps` more tokens for every lane; whether an answer is not finished. No-op when all are.
  bool advance_by(int steps);
  std::vector<Answer> take_answers() { return std::move(answers_); }

 private:
  /// A sequence in a lane.
  struct Running {
    std::size_t prompt;
    int lane;
  };

  bool wants_more_prompts() const;
  void admit();
  void advance();
  std::vector<std::int32_t> pick(Matrix<const float> logits, std::size_t first);
  void take(Matrix<const float> logits, std::size_t first);
  bool append(const Running& running, std::int32_t token);

  const Model& model_;
  model::Decoder* decoder_;
  std::span<const Tokens> prompts_;
  std::span<const std::int64_t> numbers_;
  const GenerateOptions& options_;
  Sampler sampler_;
  std::int32_t end_of_answer_;
  std::vector<std::size_t> waiting_;  // prompts, the next one last
  std::vector<int> free_lanes_;
  std::size_t lanes_;
  std::vector<Running> running_;
  std::vector<Answer> answers_;
};

Generation::Generation(const Model& model, model::Decoder* decoder, std::int64_t lanes, std::span<const Tokens> prompts,
                       std::span<const std::int64_t> numbers, const GenerateOptions& options)
    : model_(model),
      decoder_(decoder),
      prompts_(prompts),
      numbers_(numbers),
      options_(options),
      sampler_(options.sampling),
      end_of_answer_(PromptEncoder(model.tokenizer).end_of_answer()),
      lanes_(static_cast<std::size_t>(lanes)),
      answers_(prompts.size()) {
  for (std::size_t i = prompts.size(); i-- > 0;) {
    if (fits(model, prompts[i])) {
      waiting_.push_back(i);
    }
  }
  for (int lane = static_cast<int>(lanes); lane-- > 0;) {
    free_lanes_.push_back(lane);
  }
}

/// Reading prompts in costs a pass over rows of slots, so a few lanes are filled at a time.
bool Generation::wants_more_prompts() const {
  return !waiting_.empty() && !free_lanes_.empty() && (running_.empty() || free_lanes_.size() * 8 >= lanes_);
}

void Generation::admit() {
  const std::size_t first = running_.size();
  std::vector<model::Prompt> starting;
  while (!waiting_.empty() && !free_lanes_.empty()) {
    running_.push_back({waiting_.back(), free_lanes_.back()});
    starting.push_back({free_lanes_.back(), prompts_[waiting_.back()]});
    waiting_.pop_back();
    free_lanes_.pop_back();
  }
  take(decoder_->prefill(starting), first);
}

void Generation::advance() {
  std::vector<model::NextToken> next;
  for (const Running& running : running_) {
    next.push_back({running.lane, answers_[running.prompt].tokens.back()});
  }
  take(decoder_->step(next), 0);
}

/// The next token of running_[first + i], to which row i of `logits` belongs, for every i.
std::vector<std::int32_t> Generation::pick(Matrix<const float> logits, std::size_t first) {
  const std::int64_t vocabulary = std::min(model_.tokenizer.vocab_size(), logits.cols);
  if (sampler_.greedy()) {
    const std::span<const std::int32_t> tokens = decoder_->most_likely(logits, vocabulary);
    return {tokens.begin(), tokens.end()};
  }
  std::vector<double> drawn;
  for (std::size_t i = first; i < running_.size(); ++i) {
    const std::size_t prompt = running_[i].prompt;
    drawn.push_back(sampler_.number(numbers_[prompt], std::ssize(answers_[prompt].tokens)));
  }
  const std::span<const std::int32_t> tokens = decoder_->draw(logits, vocabulary, sampler_.rule(), drawn);
  return {tokens.begin(), tokens.end()};
}

/// Row i of `logits` belongs to running_[first + i]; those that end leave.
void Generation::take(Matrix<const float> logits, std::size_t first) {
  const std::vector<std::int32_t> tokens = pick(logits, first);
  std::size_t kept = first;
  for (std::size_t i = first; i < running_.size(); ++i) {
    const Running running = running_[i];
    if (append(running, tokens[i - first])) {
      running_[kept++] = running;
    } else {
      free_lanes_.push_back(running.lane);
    }
  }
  running_.resize(kept);
}

/// Adds the next token; false where the answer ends.
bool Generation::append(const Running& running, std::int32_t token) {
  Answer& answer = answers_[running.prompt];
  const std::int64_t position = std::ssize(answer.tokens);
  if (token == end_of_answer_) {
    answer.finish = Finish::end_of_answer;
    return false;
  }
  answer.tokens.push_back(token);
  if (position + 1 >= options_.max_tokens) {
    answer.finish = Finish::max_tokens;
    return false;
  }
  if (decoder_->length(running.lane) >= model_.config.max_seq_len) {
    answer.finish = Finish::context;
    return false;
  }
  return true;
}

bool Generation::advance_by(int steps) {
  const auto more = [this] { return !waiting_.empty() || !running_.empty(); };
  for (int step = 0; step < steps && more(); ++step) {
    if (wants_more_prompts()) {
      admit();
    }
    if (!running_.empty()) {
      advance();
    }
    comm::note_progress();
  }
  return more();
}

/// Answers as 32-bit words: finish, number of tokens, tokens.
std::string pack_answers(const std::vector<Answer>& answers) {
  std::vector<std::int32_t> words;
  for (const Answer& answer : answers) {
    words.push_back(static_cast<std::int32_t>(answer.finish));
    words.push_back(static_cast<std::int32_t>(answer.tokens.size()));
    words.insert(words.end(), answer.tokens.begin(), answer.tokens.end());
  }
  return {reinterpret_cast<const char*>(words.data()), words.size() * sizeof(std::int32_t)};
}

std::vector<Answer> unpack_answers(const std::string& bytes) {
  std::vector<std::int32_t> words(bytes.size() / sizeof(std::int32_t));
  if (!bytes.empty()) {
    std::memcpy(words.data(), bytes.data(), bytes.size());
  }
  std::vector<Answer> answers;
  for (auto at = words.begin(); at != words.end();) {
    const auto tokens = at + 2;
    answers.push_back({Tokens(tokens, tokens + at[1]), static_cast<Finish>(at[0])});
    at = tokens + at[1];
  }
  return answers;
}

}  // namespace

const char* name(Finish finish) {
  switch (finish) {
    case Finish::end_of_answer:
      return "end_of_answer";
    case Finish::max_tokens:
      return "max_tokens";
    case Finish::context:
      return "context";
    case Finish::prompt_too_long:
      return "prompt_too_long";
  }
  return "";
}

std::vector<Answer> generate(const comm::Grid& grid, const Model& model, std::span<const Tokens> prompts,
                             const GenerateOptions& options) {
  const model::DecoderLimits limits = decoder_limits(grid, model, prompts, options);
  std::unique_ptr<model::Decoder> decoder;
  comm::together(*grid.world, [&] {
    if (limits.max_batch > 0) {
      decoder = model::Decoder::make(model.config, model.precision, limits, {grid.tensor.get(), false}, *grid.device);
    }
  });
  comm::share_product_choices(grid);
  if (decoder) {
    model.load(*decoder);
  }
  const auto ranks = static_cast<std::size_t>(grid.data->size());
  std::vector<Tokens> own;
  std::vector<std::int64_t> numbers;
  for (auto i = static_cast<std::size_t>(grid.data->rank()); i < prompts.size(); i += ranks) {
    own.push_back(prompts[i]);
    numbers.push_back(static_cast<std::int64_t>(i));
  }
  Generation generation(model, decoder.get(), limits.max_batch, own, numbers, options);
  comm::in_rounds(*grid.world, [&] { return generation.advance_by(steps_per_round); });
  const std::vector<Answer> mine = generation.take_answers();
  std::vector<Answer> all(prompts.size());
  const std::vector<std::string> parts = grid.data->gather(pack_answers(mine));
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    std::vector<Answer> answers = unpack_answers(parts[rank]);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      all[rank + i * ranks] = std::move(answers[i]);
    }
  }
  return all;
}

}  // namespace hrm::infer
