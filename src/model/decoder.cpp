#include "model/decoder.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/round.hpp"
#include "kernels/argmax.hpp"
#include "kernels/draw.hpp"
#include "kernels/elementwise.hpp"
#include "model/decoder_cache.hpp"
#include "model/decoder_work.hpp"
#include "model/embedding.hpp"
#include "model/inject.hpp"
#include "model/program.hpp"
#include "model/stack.hpp"

namespace hrm::model {
namespace {

using kernels::row_bucket;

std::int64_t to_bucket(std::int64_t rows) {
  return round_up(rows, row_bucket);
}

/// Rows of packs of prompts, so that a prompt's bits do not depend on the prompts beside it: products of the rows
/// least … most_shared have the same order of sums. Longer prompts go alone.
struct PackRows {
  std::int64_t least;
  std::int64_t most_shared;

  /// The host's products choose their tiles by ranges of rows. A device's may choose another algorithm for each number
  /// of rows, and these take hardly longer than fewer: they are what its weights are read for.
  static PackRows of(const Device& device) {
    return device.is_host() ? PackRows{2 * row_bucket, 15 * row_bucket} : PackRows{8 * row_bucket, 8 * row_bucket};
  }
  std::int64_t rows(std::int64_t tokens) const { return std::max(least, to_bucket(tokens)); }
};

RowShare all_rows(std::int64_t rows) {
  return {0, rows, rows};
}

template <class T>
class DecoderOf final : public Decoder {
 public:
  DecoderOf(const config::ModelConfig& config, const DecoderLimits& limits, comm::Communicator* group, Device& device);

  const ParameterTable& table() const override { return weights_.table(); }
  void load(std::span<const float> flat, std::span<const float> zl_init) override;
  void load_bucket(int bucket, std::span<const std::byte> values) override;
  void load_constant(std::span<const float> zl_init) override;
  Matrix<const float> prefill(std::span<const Prompt> prompts) override;
  Matrix<const float> step(std::span<const NextToken> tokens) override;
  Matrix<const float> on_host(Matrix<const float> logits) override;
  std::span<const std::int32_t> most_likely(Matrix<const float> logits, std::int64_t vocabulary) override;
  std::span<const std::int32_t> draw(Matrix<const float> logits, std::int64_t vocabulary, const kernels::DrawRule& rule,
                                     std::span<const double> numbers) override;
  std::int64_t length(int lane) const override { return lengths_.at(static_cast<std::size_t>(lane)); }

 private:
  void prepare_products();
  std::span<const std::int32_t> read_tokens(std::int64_t rows);
  void forget() { std::fill(lengths_.begin(), lengths_.end(), 0); }
  /// Views of every buffer for a call of `rows` rows.
  void begin(std::int64_t rows);
  Matrix<T> value(Value v) {
    const auto slot = static_cast<std::int64_t>(program_.value_slot[static_cast<std::size_t>(v)]);
    return {values_.data() + slot * rows_ * config_.hidden_size, rows_, config_.hidden_size};
  }
  std::size_t place_prompts(std::span<const Prompt> prompts);
  void prefill_pack(Matrix<T> last_states);
  void run(bool prompts);
  /// Attention of the rows of this call, whose keys and values go to the cache first.
  void attend(bool prompts, int call, int layer);
  Matrix<const float> logits(Matrix<const T> states, std::size_t count);
  std::int64_t& length_of(int lane) { return lengths_.at(static_cast<std::size_t>(lane)); }

  Device& device_;
  Stream stream_;
  config::ModelConfig config_;
  DecoderLimits limits_;
  PackRows pack_rows_;
  std::int64_t step_rows_;
  std::int64_t most_rows_;
  TensorParallel parallel_;  // every rank holds all rows: packs of a few rows are not worth sharing
  ModelWeights<T> weights_;
  Program program_;
  kernels::RopeTable rope_;
  DecoderCache<T> cache_;
  DecoderWork<T> work_;
  Buffer<T> values_;          // (value slots, rows, D)
  Buffer<T> residual_;        // (rows, D)
  Buffer<T> record_storage_;  // one layer's record
  Buffer<float> record_statistics_;
  LayerScratch<T> scratch_;
  Buffer<T> states_;                    // (step rows, D): last states of prompts
  Buffer<float> logits_;                // (step rows, V / group size)
  Buffer<float> shard_space_;           // (group size, batch, V / group size); none in a group of one
  Buffer<float> whole_logits_;          // (batch, V); none in a group of one
  Buffer<float> read_logits_;           // (batch, V) in host memory, for devices
  Buffer<std::uint64_t> draw_weights_;  // (batch, V), once tokens are drawn
  Buffer<double> sent_numbers_;         // (batch) in host memory, once tokens are drawn …
  Buffer<double> draw_numbers_;         // … and on the device
  Buffer<std::int32_t> tokens_;         // (batch): chosen ones
  Buffer<std::int32_t> read_tokens_;    // (batch) in host memory
  std::int64_t rows_ = 0;
  StackSaved<T> record_;
  Sequences sequences_;
  std::vector<std::int64_t> lengths_;  // by lane
};

template <class T>
DecoderOf<T>::DecoderOf(const config::ModelConfig& config, const DecoderLimits& limits, comm::Communicator* group,
                        Device& device)
    : device_(device),
      stream_(device.compute()),
      config_(config),
      limits_(limits),
      pack_rows_(PackRows::of(device)),
      step_rows_(to_bucket(limits.max_batch)),
      most_rows_(std::max(step_rows_, pack_rows_.rows(limits.prefill_slots))),
      parallel_{group, false},
      weights_(config, parallel_.place(), false, device),
      program_(make_program(config, horizons(config).front(), false)),
      rope_(limits.max_context, config.head_dim(), config.rope_theta, device),
      cache_(static_cast<std::int64_t>(program_.steps.size()), config.stack_layers(), limits.max_batch,
             limits.max_context, weights_.shape().attention_width(), device),
      work_(most_rows_, mask_of(config), cache_, device),
      values_(program_.value_slots * most_rows_ * config.hidden_size, MemoryPart::activations, device.memory()),
      residual_(most_rows_ * config.hidden_size, MemoryPart::activations, device.memory()),
      record_storage_(LayerSaved<T>::elements(weights_.shape(), all_rows(most_rows_)), MemoryPart::activations,
                      device.memory()),
      record_statistics_(LayerSaved<T>::floats(weights_.shape(), all_rows(most_rows_)) + most_rows_,
                         MemoryPart::activations, device.memory()),
      scratch_(weights_.shape(), parallel_, most_rows_, std::min(limits.prefill_slots, limits.max_context), false,
               device),
      states_(step_rows_ * config.hidden_size, MemoryPart::workspace, device.memory()),
      logits_(step_rows_ * weights_.head().out(), MemoryPart::workspace, device.memory()),
      tokens_(limits.max_batch, MemoryPart::workspace, device.memory()),
      read_tokens_(limits.max_batch, MemoryPart::workspace, device.staging()),
      lengths_(static_cast<std::size_t>(limits.max_batch)) {
  ensure(limits.max_batch > 0 && limits.prefill_slots > 0 && limits.max_context > 0,
         "a decoder needs lanes, slots and a context");
  const std::int64_t all_logits = limits.max_batch * config.vocab_size;
  if (!scratch_.group.alone()) {
    shard_space_ = Buffer<float>(all_logits, MemoryPart::workspace, device.memory());
    whole_logits_ = Buffer<float>(all_logits, MemoryPart::workspace, device.memory());
  }
  if (!device.is_host()) {
    read_logits_ = Buffer<float>(all_logits, MemoryPart::workspace, device.staging());
  }
  record_.layers.resize(1);
  prepare_products();
}

template <class T>
void DecoderOf<T>::prepare_products() {
  const LayerShape& shape = weights_.shape();
  prepare_layer_products<T>(shape, step_rows_, false, device_.type());
  for (std::int64_t rows = pack_rows_.least; rows <= pack_rows_.rows(limits_.prefill_slots); rows += row_bucket) {
    prepare_layer_products<T>(shape, rows, false, device_.type());
  }
  kernels::prepare_linear<T>(step_rows_, weights_.head().out(), weights_.head().in(), false, device_.type());
}

template <class T>
void DecoderOf<T>::load(std::span<const float> flat, std::span<const float> zl_init) {
  weights_.load(stream_, flat, zl_init);
  forget();
}

template <class T>
void DecoderOf<T>::load_bucket(int bucket, std::span<const std::byte> values) {
  weights_.load_bucket(stream_, bucket, values);
  forget();
}

template <class T>
void DecoderOf<T>::load_constant(std::span<const float> zl_init) {
  weights_.load_constant(stream_, zl_init);
  forget();
}

template <class T>
void DecoderOf<T>::begin(std::int64_t rows) {
  rows_ = rows;
  const std::int64_t floats = LayerSaved<T>::floats(weights_.shape(), all_rows(rows));
  record_.layers[0] =
      LayerSaved<T>::place(weights_.shape(), all_rows(rows), record_storage_.data(), record_statistics_.data());
  record_.rstd = record_statistics_.span(floats, rows);
  scratch_.gated.rows = rows;
  scratch_.hidden.rows = rows;
  work_.send(rows);
  sequences_ = {work_.layout(), work_.positions(),
                weights_.shape().rope ? kernels::RopeAngles(rope_) : kernels::RopeAngles{}};
}

/// Packs as many of `prompts` as share a row of slots, at least one; returns their number.
template <class T>
std::size_t DecoderOf<T>::place_prompts(std::span<const Prompt> prompts) {
  const std::int64_t room = std::min(limits_.prefill_slots, pack_rows_.most_shared);
  work_.begin();
  std::size_t placed = 0;
  for (const Prompt& prompt : prompts) {
    const auto tokens = static_cast<std::int64_t>(prompt.tokens.size());
    ensure(tokens > 0 && tokens <= std::min(limits_.prefill_slots, limits_.max_context),
           "a prompt is empty or longer than the decoder's slots or context");
    if (placed > 0 && work_.used() + tokens > room) {
      break;
    }
    for (std::int64_t i = 0; i < tokens; ++i) {
      work_.add({prompt.tokens[static_cast<std::size_t>(i)], prompt.lane, i});
    }
    work_.end_prompt();
    length_of(prompt.lane) = tokens;
    ++placed;
  }
  return placed;
}

template <class T>
void DecoderOf<T>::run(bool prompts) {
  embed<T>(stream_, weights_, work_.inputs(), scratch_.group, value(value_x));
  const Matrix<T> residual(residual_.data(), rows_, config_.hidden_size);
  for (int call = 0; call < static_cast<int>(program_.steps.size()); ++call) {
    const Step& step = program_.steps[static_cast<std::size_t>(call)];
    inject<T>(
        stream_, step, weights_.zl_init(), [&](Value v) { return value(v); }, residual);
    const auto attend_layer = [this, prompts, call](int layer) -> AttentionCall<T> {
      return [this, prompts, call, layer](const LayerSaved<T>&) { attend(prompts, call, layer); };
    };
    stack_forward<T>(stream_, weights_, step.stack, sequences_, attend_layer, nullptr, residual, record_, scratch_,
                     value(value_of_step(call)));
  }
}

template <class T>
void DecoderOf<T>::attend(bool prompts, int call, int layer) {
  const LayerSaved<T>& saved = record_.layers[0];
  const LayerShape& shape = weights_.shape();
  const CacheRows<T> cache = work_.cache(call, layer);
  const std::int64_t used = work_.used();
  kernels::attention_append<T>(stream_, saved.k().slice(0, used), saved.v().slice(0, used), cache.keys, cache.values,
                               work_.lengths(), shape.attention_width());
  if (prompts) {
    kernels::attention_forward<T>(stream_, sequences_.layout, shape.heads, saved.q(), saved.k(), saved.v(),
                                  saved.attention, saved.lse, scratch_.attention);
  } else {
    kernels::attention_decode<T>(stream_, shape.heads, saved.q().slice(0, used), cache.keys, cache.values,
                                 work_.lengths(), shape.attention_width(), saved.attention.slice(0, used));
  }
}

template <class T>
void DecoderOf<T>::prefill_pack(Matrix<T> last_states) {
  begin(pack_rows_.rows(work_.used()));
  run(true);
  kernels::gather_rows<T>(stream_, value(program_.output()), work_.last_rows(), last_states);
}

template <class T>
Matrix<const float> DecoderOf<T>::prefill(std::span<const Prompt> prompts) {
  ensure(static_cast<std::int64_t>(prompts.size()) <= limits_.max_batch, "more prompts than lanes");
  const Matrix<T> states(states_.data(), step_rows_, config_.hidden_size);
  for (std::size_t done = 0; done < prompts.size();) {
    const std::size_t count = place_prompts(prompts.subspan(done));
    prefill_pack(states.slice(static_cast<std::int64_t>(done), static_cast<std::int64_t>(count)));
    done += count;
  }
  return logits(states, prompts.size());
}

template <class T>
Matrix<const float> DecoderOf<T>::step(std::span<const NextToken> tokens) {
  ensure(static_cast<std::int64_t>(tokens.size()) <= limits_.max_batch, "more tokens than lanes");
  work_.begin();
  for (const NextToken& next : tokens) {
    std::int64_t& length = length_of(next.lane);
    ensure(length > 0 && length < limits_.max_context, "a lane holds no prompt or its context is full");
    work_.add({next.token, next.lane, length++});
  }
  begin(step_rows_);
  run(false);
  return logits(value(program_.output()), tokens.size());
}

template <class T>
Matrix<const float> DecoderOf<T>::logits(Matrix<const T> states, std::size_t count) {
  const auto rows = static_cast<std::int64_t>(count);
  const Matrix<float> own(logits_.data(), step_rows_, weights_.head().out());
  kernels::linear_forward_f32<T>(stream_, states, weights_.head(), own);
  if (scratch_.group.alone()) {
    return own.slice(0, rows);
  }
  const Matrix<float> whole(whole_logits_.data(), rows, config_.vocab_size);
  scratch_.group.gather_columns(stream_, own.slice(0, rows), shard_space_.span(), whole);
  return whole;
}

template <class T>
Matrix<const float> DecoderOf<T>::on_host(Matrix<const float> logits) {
  if (device_.is_host()) {
    return logits;
  }
  device_.copy(stream_, read_logits_.data(), logits.data,
               static_cast<std::size_t>(logits.rows * logits.cols) * sizeof(float));
  scratch_.group.finish();
  device_.wait(stream_);
  return {read_logits_.data(), logits.rows, logits.cols};
}

template <class T>
std::span<const std::int32_t> DecoderOf<T>::most_likely(Matrix<const float> logits, std::int64_t vocabulary) {
  kernels::argmax_rows(stream_, logits.columns(0, vocabulary), tokens_.span(0, logits.rows));
  return read_tokens(logits.rows);
}

template <class T>
std::span<const std::int32_t> DecoderOf<T>::draw(Matrix<const float> logits, std::int64_t vocabulary,
                                                 const kernels::DrawRule& rule, std::span<const double> numbers) {
  if (draw_numbers_.size() == 0) {
    sent_numbers_ = Buffer<double>(limits_.max_batch, MemoryPart::workspace, device_.staging());
    draw_numbers_ = Buffer<double>(limits_.max_batch, MemoryPart::workspace, device_.memory());
    draw_weights_ =
        Buffer<std::uint64_t>(limits_.max_batch * config_.vocab_size, MemoryPart::workspace, device_.memory());
  }
  std::copy(numbers.begin(), numbers.end(), sent_numbers_.data());
  device_.copy(stream_, draw_numbers_.data(), sent_numbers_.data(), numbers.size_bytes());
  kernels::draw_rows(stream_, logits.columns(0, vocabulary), rule, draw_numbers_.span(0, logits.rows),
                     draw_weights_.span(0, logits.rows * vocabulary), tokens_.span(0, logits.rows));
  return read_tokens(logits.rows);
}

template <class T>
std::span<const std::int32_t> DecoderOf<T>::read_tokens(std::int64_t rows) {
  device_.copy(stream_, read_tokens_.data(), tokens_.data(), tokens_.bytes());
  scratch_.group.finish();
  device_.wait(stream_);
  return read_tokens_.span(0, rows);
}

}  // namespace

std::unique_ptr<Decoder> Decoder::make(const config::ModelConfig& config, Precision precision,
                                       const DecoderLimits& limits, const TensorParallel& parallel, Device& device) {
  if (precision == Precision::bf16) {
    return std::make_unique<DecoderOf<bf16>>(config, limits, parallel.group, device);
  }
  return std::make_unique<DecoderOf<float>>(config, limits, parallel.group, device);
}

}  // namespace hrm::model
