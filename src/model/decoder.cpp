#include "model/decoder.hpp"

#include <algorithm>
#include <vector>

#include "base/error.hpp"
#include "base/round.hpp"
#include "kernels/elementwise.hpp"
#include "model/decoder_cache.hpp"
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

/// Matrix products choose their tiles by the number of rows, and the tile decides the last bits. Packs of this many
/// rows share one tile, so a prompt's bits do not depend on the prompts beside it; longer prompts go alone.
constexpr std::int64_t least_rows = 2 * row_bucket;
constexpr std::int64_t most_shared_rows = 15 * row_bucket;

std::int64_t prefill_rows(std::int64_t tokens) {
  return std::max(least_rows, to_bucket(tokens));
}

RowShare all_rows(std::int64_t rows) {
  return {0, rows, rows};
}

template <class T>
class DecoderOf final : public Decoder {
 public:
  DecoderOf(const config::ModelConfig& config, const DecoderLimits& limits, comm::Communicator* group);

  const ParameterTable& table() const override { return weights_.table(); }
  void load(std::span<const float> flat, std::span<const float> zl_init) override;
  void load_bucket(int bucket, std::span<const std::byte> values) override;
  void load_constant(std::span<const float> zl_init) override;
  Matrix<const float> prefill(std::span<const Prompt> prompts) override;
  Matrix<const float> step(std::span<const NextToken> tokens) override;
  std::int64_t length(int lane) const override { return lengths_.at(static_cast<std::size_t>(lane)); }

 private:
  void prepare_products();
  void forget() { std::fill(lengths_.begin(), lengths_.end(), 0); }
  /// Views of every buffer for a call of `rows` rows.
  void begin(std::int64_t rows);
  Matrix<T> value(Value v) {
    const auto slot = static_cast<std::int64_t>(program_.value_slot[static_cast<std::size_t>(v)]);
    return {values_.data() + slot * rows_ * config_.hidden_size, rows_, config_.hidden_size};
  }
  void place(std::int64_t row, std::int32_t token, std::int64_t position);
  void place_padding(std::int64_t first);
  std::size_t place_prompts(std::span<const Prompt> prompts);
  void prefill_pack(std::span<const Prompt> prompts, Matrix<T> last_states);
  void run(const std::function<void(int call, int layer)>& attend);
  void attend_prompts(std::span<const Prompt> prompts, int call, int layer);
  void attend_cache(std::span<const NextToken> tokens, int call, int layer);
  Matrix<const float> logits(Matrix<const T> states, std::size_t count);
  std::int64_t& length_of(int lane) { return lengths_.at(static_cast<std::size_t>(lane)); }

  Stream stream_;
  config::ModelConfig config_;
  DecoderLimits limits_;
  std::int64_t step_rows_;
  std::int64_t most_rows_;
  TensorParallel parallel_;  // every rank holds all rows: packs of a few rows are not worth sharing
  ModelWeights<T> weights_;
  Program program_;
  kernels::RopeTable rope_;
  DecoderCache<T> cache_;
  Buffer<T> values_;          // (value slots, rows, D)
  Buffer<T> residual_;        // (rows, D)
  Buffer<T> record_storage_;  // one layer's record
  Buffer<float> record_statistics_;
  LayerScratch<T> scratch_;
  Buffer<T> states_;            // (step rows, D): last states of prompts
  Buffer<float> logits_;        // (step rows, V / group size)
  Buffer<float> shard_space_;   // (group size, batch, V / group size); none in a group of one
  Buffer<float> whole_logits_;  // (batch, V); none in a group of one
  std::int64_t rows_ = 0;
  StackSaved<T> record_;
  Sequences sequences_;
  std::vector<std::int32_t> inputs_;          // (rows)
  std::vector<std::int32_t> positions_;       // (rows)
  std::vector<std::int32_t> first_rows_;      // cu_seqlens of the packed prompts
  std::vector<std::int32_t> prompt_lengths_;  // of the packed prompts
  std::vector<std::int32_t> last_rows_;       // of the packed prompts
  std::vector<const T*> keys_;                // of the tokens of a step
  std::vector<const T*> cached_values_;
  std::vector<std::int32_t> cached_lengths_;
  std::vector<std::int64_t> lengths_;  // by lane
};

template <class T>
DecoderOf<T>::DecoderOf(const config::ModelConfig& config, const DecoderLimits& limits, comm::Communicator* group)
    : config_(config),
      limits_(limits),
      step_rows_(to_bucket(limits.max_batch)),
      most_rows_(std::max(step_rows_, prefill_rows(limits.prefill_slots))),
      parallel_{group, false},
      weights_(config, parallel_.place(), false),
      program_(make_program(config, horizons(config).front(), false)),
      rope_(limits.max_context, config.head_dim(), config.rope_theta),
      cache_(static_cast<std::int64_t>(program_.steps.size()), config.stack_layers(), limits.max_batch,
             limits.max_context, weights_.shape().attention_width()),
      values_(program_.value_slots * most_rows_ * config.hidden_size, MemoryPart::activations),
      residual_(most_rows_ * config.hidden_size, MemoryPart::activations),
      record_storage_(LayerSaved<T>::elements(weights_.shape(), all_rows(most_rows_)), MemoryPart::activations),
      record_statistics_(LayerSaved<T>::floats(weights_.shape(), all_rows(most_rows_)) + most_rows_,
                         MemoryPart::activations),
      scratch_(weights_.shape(), parallel_, most_rows_, std::min(limits.prefill_slots, limits.max_context), false),
      states_(step_rows_ * config.hidden_size),
      logits_(step_rows_ * weights_.head().out()),
      shard_space_(scratch_.group.alone() ? 0 : limits.max_batch * config.vocab_size),
      whole_logits_(scratch_.group.alone() ? 0 : limits.max_batch * config.vocab_size),
      inputs_(static_cast<std::size_t>(most_rows_)),
      positions_(static_cast<std::size_t>(most_rows_)),
      lengths_(static_cast<std::size_t>(limits.max_batch)) {
  ensure(limits.max_batch > 0 && limits.prefill_slots > 0 && limits.max_context > 0,
         "a decoder needs lanes, slots and a context");
  record_.layers.resize(1);
  prepare_products();
}

template <class T>
void DecoderOf<T>::prepare_products() {
  const LayerShape& shape = weights_.shape();
  prepare_layer_products<T>(shape, step_rows_, false);
  for (std::int64_t rows = least_rows; rows <= prefill_rows(limits_.prefill_slots); rows += row_bucket) {
    prepare_layer_products<T>(shape, rows, false);
  }
  kernels::prepare_linear<T>(step_rows_, weights_.head().out(), weights_.head().in(), false);
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
  const auto mask = config_.attention == "causal" ? kernels::MaskType::causal : kernels::MaskType::prefixlm;
  sequences_ = {{first_rows_, prompt_lengths_, mask},
                std::span<const std::int32_t>(positions_).first(static_cast<std::size_t>(rows)),
                weights_.shape().rope ? kernels::RopeAngles(rope_) : kernels::RopeAngles{}};
}

template <class T>
void DecoderOf<T>::place(std::int64_t row, std::int32_t token, std::int64_t position) {
  inputs_[static_cast<std::size_t>(row)] = token;
  positions_[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(position);
}

template <class T>
void DecoderOf<T>::place_padding(std::int64_t first) {
  for (std::int64_t row = first; row < rows_; ++row) {
    place(row, 0, 0);
  }
}

/// Packs as many of `prompts` as share a row of slots, at least one; returns their number.
template <class T>
std::size_t DecoderOf<T>::place_prompts(std::span<const Prompt> prompts) {
  const std::int64_t room = std::min(limits_.prefill_slots, most_shared_rows);
  first_rows_.assign(1, 0);
  prompt_lengths_.clear();
  last_rows_.clear();
  std::int64_t row = 0;
  for (const Prompt& prompt : prompts) {
    const auto tokens = static_cast<std::int64_t>(prompt.tokens.size());
    ensure(tokens > 0 && tokens <= std::min(limits_.prefill_slots, limits_.max_context),
           "a prompt is empty or longer than the decoder's slots or context");
    if (row > 0 && row + tokens > room) {
      break;
    }
    for (std::int64_t i = 0; i < tokens; ++i) {
      place(row++, prompt.tokens[static_cast<std::size_t>(i)], i);
    }
    first_rows_.push_back(static_cast<std::int32_t>(row));
    prompt_lengths_.push_back(static_cast<std::int32_t>(tokens));
    last_rows_.push_back(static_cast<std::int32_t>(row) - 1);
    length_of(prompt.lane) = tokens;
  }
  return last_rows_.size();
}

template <class T>
void DecoderOf<T>::run(const std::function<void(int call, int layer)>& attend) {
  embed<T>(stream_, weights_, std::span<const std::int32_t>(inputs_).first(static_cast<std::size_t>(rows_)),
           scratch_.group, value(value_x));
  const Matrix<T> residual(residual_.data(), rows_, config_.hidden_size);
  for (int call = 0; call < static_cast<int>(program_.steps.size()); ++call) {
    const Step& step = program_.steps[static_cast<std::size_t>(call)];
    inject<T>(
        stream_, step, weights_.zl_init(), [&](Value v) { return value(v); }, residual);
    const auto attend_layer = [&attend, call](int layer) -> AttentionCall<T> {
      return [&attend, call, layer](const LayerSaved<T>&) { attend(call, layer); };
    };
    stack_forward<T>(stream_, weights_, step.stack, sequences_, attend_layer, nullptr, residual, record_, scratch_,
                     value(value_of_step(call)));
  }
}

/// Attention inside the packed prompts; their keys and values go to the cache.
template <class T>
void DecoderOf<T>::attend_prompts(std::span<const Prompt> prompts, int call, int layer) {
  const LayerSaved<T>& saved = record_.layers[0];
  kernels::attention_forward<T>(stream_, sequences_.layout, weights_.shape().heads, saved.q(), saved.k(), saved.v(),
                                saved.attention, saved.lse, scratch_.attention);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::int64_t first = first_rows_[i];
    const std::int64_t count = prompt_lengths_[i];
    const int lane = prompts[i].lane;
    kernels::copy<T>(stream_, saved.k().slice(first, count), cache_.keys(call, layer, lane).slice(0, count));
    kernels::copy<T>(stream_, saved.v().slice(first, count), cache_.values(call, layer, lane).slice(0, count));
  }
}

/// Adds each token's key and value to its lane's cache and attends over it.
template <class T>
void DecoderOf<T>::attend_cache(std::span<const NextToken> tokens, int call, int layer) {
  const LayerSaved<T>& saved = record_.layers[0];
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    const Matrix<T> keys = cache_.keys(call, layer, tokens[i].lane);
    const Matrix<T> values = cache_.values(call, layer, tokens[i].lane);
    const std::int64_t position = cached_lengths_[i] - 1;
    kernels::copy<T>(stream_, saved.k().slice(row, 1), keys.slice(position, 1));
    kernels::copy<T>(stream_, saved.v().slice(row, 1), values.slice(position, 1));
    keys_[i] = keys.data;
    cached_values_[i] = values.data;
  }
  const auto count = static_cast<std::int64_t>(tokens.size());
  kernels::attention_decode<T>(stream_, weights_.shape().heads, saved.q().slice(0, count), keys_, cached_values_,
                               cached_lengths_, weights_.shape().attention_width(), saved.attention.slice(0, count));
}

template <class T>
void DecoderOf<T>::prefill_pack(std::span<const Prompt> prompts, Matrix<T> last_states) {
  begin(prefill_rows(first_rows_.back()));
  place_padding(first_rows_.back());
  run([&](int call, int layer) { attend_prompts(prompts, call, layer); });
  kernels::gather_rows<T>(stream_, value(program_.output()), last_rows_, last_states);
}

template <class T>
Matrix<const float> DecoderOf<T>::prefill(std::span<const Prompt> prompts) {
  ensure(static_cast<std::int64_t>(prompts.size()) <= limits_.max_batch, "more prompts than lanes");
  const Matrix<T> states(states_.data(), step_rows_, config_.hidden_size);
  for (std::size_t done = 0; done < prompts.size();) {
    const std::size_t count = place_prompts(prompts.subspan(done));
    prefill_pack(prompts.subspan(done, count),
                 states.slice(static_cast<std::int64_t>(done), static_cast<std::int64_t>(count)));
    done += count;
  }
  return logits(states, prompts.size());
}

template <class T>
Matrix<const float> DecoderOf<T>::step(std::span<const NextToken> tokens) {
  ensure(static_cast<std::int64_t>(tokens.size()) <= limits_.max_batch, "more tokens than lanes");
  begin(step_rows_);
  keys_.resize(tokens.size());
  cached_values_.resize(tokens.size());
  cached_lengths_.resize(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    std::int64_t& length = length_of(tokens[i].lane);
    ensure(length > 0 && length < limits_.max_context, "a lane holds no prompt or its context is full");
    place(static_cast<std::int64_t>(i), tokens[i].token, length);
    cached_lengths_[i] = static_cast<std::int32_t>(++length);
  }
  place_padding(static_cast<std::int64_t>(tokens.size()));
  run([&](int call, int layer) { attend_cache(tokens, call, layer); });
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

}  // namespace

std::unique_ptr<Decoder> Decoder::make(const config::ModelConfig& config, Precision precision,
                                       const DecoderLimits& limits, const TensorParallel& parallel) {
  if (precision == Precision::bf16) {
    return std::make_unique<DecoderOf<bf16>>(config, limits, parallel.group);
  }
  return std::make_unique<DecoderOf<float>>(config, limits, parallel.group);
}

}  // namespace hrm::model
