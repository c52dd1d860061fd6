#include "infer/generate.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/error.hpp"
#include "model/decoder.hpp"
#include "model/unroll.hpp"

namespace hrm::infer {
namespace {

constexpr std::int64_t most_lanes = 64;
constexpr std::int64_t cache_bytes = std::int64_t{1} << 30;
/// Slots that prompts share when they are read in; a longer prompt gets its own.
constexpr std::int64_t shared_slots = 960;

/// Bytes of keys and values of one sequence of `context` tokens.
std::int64_t lane_bytes(const Model& model, std::int64_t context) {
  const auto calls = std::ssize(model::unroll(model.config, model::horizons(model.config).front()));
  const std::int64_t element = model.precision == Precision::bf16 ? 2 : 4;
  return calls * model.config.stack_layers() * 2 * context * model.config.hidden_size * element;
}

/// One call of generate().
class Generation {
 public:
  Generation(const Model& model, std::span<const Tokens> prompts, std::span<const std::int64_t> numbers,
             const GenerateOptions& options);
  std::vector<Answer> run();

 private:
  /// A sequence in a lane.
  struct Running {
    std::size_t prompt;
    int lane;
  };

  bool fits(const Tokens& prompt) const { return std::ssize(prompt) <= model_.config.max_seq_len; }
  bool wants_more_prompts() const;
  void admit();
  void advance();
  void take(Matrix<const float> logits, std::size_t first);
  bool append(const Running& running, std::span<const float> logits);

  const Model& model_;
  std::span<const Tokens> prompts_;
  std::span<const std::int64_t> numbers_;
  const GenerateOptions& options_;
  Sampler sampler_;
  std::int32_t end_of_answer_;
  std::unique_ptr<model::Decoder> decoder_;  // null where no prompt fits
  std::vector<std::size_t> waiting_;         // prompts, the next one last
  std::vector<int> free_lanes_;
  std::size_t lanes_ = 0;
  std::vector<Running> running_;
  std::vector<Answer> answers_;
};

Generation::Generation(const Model& model, std::span<const Tokens> prompts, std::span<const std::int64_t> numbers,
                       const GenerateOptions& options)
    : model_(model),
      prompts_(prompts),
      numbers_(numbers),
      options_(options),
      sampler_(options.sampling),
      end_of_answer_(PromptEncoder(model.tokenizer).end_of_answer()),
      answers_(prompts.size()) {
  std::int64_t longest = 0;
  for (std::size_t i = prompts.size(); i-- > 0;) {
    if (fits(prompts[i])) {
      waiting_.push_back(i);
      longest = std::max<std::int64_t>(longest, std::ssize(prompts[i]));
    }
  }
  if (waiting_.empty()) {
    return;
  }
  // The last token of an answer is not fed back.
  const std::int64_t context =
      std::min(model.config.max_seq_len, longest + std::max<std::int64_t>(options.max_tokens, 1) - 1);
  const std::int64_t fitting = std::clamp<std::int64_t>(cache_bytes / lane_bytes(model, context), 1, most_lanes);
  const std::int64_t lanes = std::min<std::int64_t>(options.batch > 0 ? options.batch : fitting, std::ssize(waiting_));
  const std::int64_t slots = std::max(longest, std::min(shared_slots, lanes * longest));
  decoder_ = model::Decoder::make(model.config, model.precision, {lanes, context, slots});
  decoder_->load(model.flat, model.zl_init);
  for (int lane = static_cast<int>(lanes); lane-- > 0;) {
    free_lanes_.push_back(lane);
  }
  lanes_ = static_cast<std::size_t>(lanes);
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

/// Row i of `logits` belongs to running_[first + i]; those that end leave.
void Generation::take(Matrix<const float> logits, std::size_t first) {
  const auto vocabulary = static_cast<std::size_t>(std::min(model_.tokenizer.vocab_size(), logits.cols));
  std::size_t kept = first;
  for (std::size_t i = first; i < running_.size(); ++i) {
    const Running running = running_[i];
    if (append(running, {logits.row(static_cast<std::int64_t>(i - first)), vocabulary})) {
      running_[kept++] = running;
    } else {
      free_lanes_.push_back(running.lane);
    }
  }
  running_.resize(kept);
}

/// Adds the next token; false where the answer ends.
bool Generation::append(const Running& running, std::span<const float> logits) {
  Answer& answer = answers_[running.prompt];
  const std::int64_t position = std::ssize(answer.tokens);
  const std::int32_t token = sampler_.pick(logits, numbers_[running.prompt], position);
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

std::vector<Answer> Generation::run() {
  while (!waiting_.empty() || !running_.empty()) {
    if (wants_more_prompts()) {
      admit();
    }
    if (!running_.empty()) {
      advance();
    }
  }
  return std::move(answers_);
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
  std::memcpy(words.data(), bytes.data(), bytes.size());
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

std::vector<Answer> generate(const Model& model, std::span<const Tokens> prompts, std::span<const std::int64_t> numbers,
                             const GenerateOptions& options) {
  ensure(prompts.size() == numbers.size(), "every prompt has a number");
  return Generation(model, prompts, numbers, options).run();
}

std::vector<Answer> generate_together(comm::Communicator& group, const Model& model, std::span<const Tokens> prompts,
                                      const GenerateOptions& options) {
  const auto ranks = static_cast<std::size_t>(group.size());
  std::vector<Answer> mine;
  comm::together(group, [&] {
    std::vector<Tokens> own;
    std::vector<std::int64_t> numbers;
    for (auto i = static_cast<std::size_t>(group.rank()); i < prompts.size(); i += ranks) {
      own.push_back(prompts[i]);
      numbers.push_back(static_cast<std::int64_t>(i));
    }
    mine = generate(model, own, numbers, options);
  });
  std::vector<Answer> all(prompts.size());
  const std::vector<std::string> parts = group.gather(pack_answers(mine));
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    std::vector<Answer> answers = unpack_answers(parts[rank]);
    for (std::size_t i = 0; i < answers.size(); ++i) {
      all[rank + i * ranks] = std::move(answers[i]);
    }
  }
  return all;
}

}  // namespace hrm::infer
