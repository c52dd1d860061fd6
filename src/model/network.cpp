#include "model/network.hpp"

#include <algorithm>
#include <map>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "kernels/elementwise.hpp"
#include "model/embedding.hpp"
#include "model/inject.hpp"
#include "model/program.hpp"
#include "model/stack.hpp"

namespace hrm::model {
namespace {

template <class T>
class NetworkOf final : public Network {
 public:
  NetworkOf(const config::ModelConfig& config, std::int64_t slots, Purpose purpose, bool recompute,
            const TensorParallel& parallel);

  const ParameterTable& table() const override { return weights_.table(); }
  bool has_gradient(int row, Horizon horizon) const override;
  void load(std::span<const float> flat, std::span<const float> zl_init) override {
    weights_.load(stream_, flat, zl_init);
  }
  void load_bucket(int bucket, std::span<const std::byte> values) override {
    weights_.load_bucket(stream_, bucket, values);
  }
  void load_constant(std::span<const float> zl_init) override { weights_.load_constant(stream_, zl_init); }
  std::vector<int> bucket_order() const override;
  void set_feed(WeightFeed* feed) override { feed_ = feed; }
  PackSums forward_backward(const PackView& pack, Horizon horizon, double divisor, GradientSink& sink) override;
  PackSums evaluate(const PackView& pack) override;
  std::span<const float> row_losses() const override { return head_.row_losses(); }
  const PackSeconds& seconds() const override { return seconds_; }
  Inspection inspect(const PackView& pack) override;

 private:
  using Record = StackSaved<T>;

  Record make_record(std::int64_t layers);
  const Program& program(Horizon horizon) const;
  Sequences sequences(const PackView& pack) const;
  void need(int bucket) {
    if (feed_ != nullptr) {
      feed_->need(bucket);
    }
  }
  TensorGroup<T>& group() { return scratch_.group; }
  Matrix<T> slot_matrix(Buffer<T>& pool, int slot) {
    return {pool.data() + slot * rows_.own * config_.hidden_size, rows_.own, config_.hidden_size};
  }
  Matrix<T> value(const Program& program, Value v) {
    return slot_matrix(values_, program.value_slot[static_cast<std::size_t>(v)]);
  }
  void run_stack(const Program& program, int k, const Sequences& sequences, const Record& record, Matrix<T> output);
  void embed_tokens(const Program& program, const PackView& pack);
  void forward(const Program& program, const PackView& pack);
  void backward(const Program& program, const PackView& pack, GradientSink& sink);
  void backward_step(const Program& program, const BackwardStep& plan, const Sequences& sequences, Matrix<T> d,
                     GradientSink& sink);
  std::vector<float> whole(Matrix<const T> state);
  std::vector<float> whole_logits(Matrix<const T> z);
  LayerGradients layer_gradients(const LayerRows& rows, GradientSink& sink) const;
  Matrix<float> gradient(int row, GradientSink& sink) const;

  Stream stream_;
  config::ModelConfig config_;
  std::int64_t slots_;
  bool recompute_;
  ModelWeights<T> weights_;
  WeightFeed* feed_ = nullptr;
  std::map<std::int64_t, Program> programs_;  // by horizon steps
  LayerScratch<T> scratch_;
  RowShare rows_;  // of a pack's slots
  std::unique_ptr<kernels::RopeTable> rope_;
  Buffer<T> values_;           // (value slots, own, D)
  Buffer<T> value_gradients_;  // (gradient slots, own, D)
  Buffer<T> residual_;         // (own, D): the running stack's residual stream
  std::vector<Buffer<T>> record_storage_;
  std::vector<Buffer<float>> record_statistics_;
  std::vector<Record> records_;  // of differentiated steps; with recomputation one, made again in the backward pass
  Record scratch_record_;        // one layer, for steps without gradient
  Head<T> head_;
  kernels::EmbeddingOrderBuffer order_;
  PackSeconds seconds_;
};

int most(const std::map<std::int64_t, Program>& programs, int Program::*member) {
  int result = 0;
  for (const auto& [steps, program] : programs) {
    result = std::max(result, program.*member);
  }
  return result;
}

std::map<std::int64_t, Program> make_programs(const config::ModelConfig& config, bool recompute) {
  std::map<std::int64_t, Program> programs;
  for (const Horizon horizon : horizons(config)) {
    programs.emplace(horizon.steps, make_program(config, horizon, recompute));
  }
  return programs;
}

template <class T>
NetworkOf<T>::NetworkOf(const config::ModelConfig& config, std::int64_t slots, Purpose purpose, bool recompute,
                        const TensorParallel& parallel)
    : config_(config),
      slots_(slots),
      recompute_(recompute),
      weights_(config, parallel.place(), purpose == Purpose::training),
      programs_(make_programs(config, recompute)),
      scratch_(weights_.shape(), parallel, slots, std::min(slots, config.max_seq_len), purpose == Purpose::training),
      rows_(group().share(slots)),
      residual_(rows_.own * config.hidden_size, MemoryPart::activations),
      head_(weights_, parallel.place(), slots, purpose == Purpose::training),
      order_(purpose == Purpose::training ? slots : 0) {
  const std::int64_t state = rows_.own * config.hidden_size;
  values_ = Buffer<T>(most(programs_, &Program::value_slots) * state, MemoryPart::activations);
  scratch_record_ = make_record(1);
  if (purpose == Purpose::training) {
    value_gradients_ = Buffer<T>(most(programs_, &Program::gradient_slots) * state, MemoryPart::activations);
    const int records = recompute ? 1 : most(programs_, &Program::records);
    for (int i = 0; i < records; ++i) {
      records_.push_back(make_record(config.stack_layers()));
    }
  }
  if (weights_.shape().rope) {
    rope_ =
        std::make_unique<kernels::RopeTable>(std::min(slots, config.max_seq_len), config.head_dim(), config.rope_theta);
  }
  prepare_layer_products<T>(weights_.shape(), slots_, purpose == Purpose::training);
}

template <class T>
StackSaved<T> NetworkOf<T>::make_record(std::int64_t layers) {
  const LayerShape& shape = weights_.shape();
  const std::int64_t elements = LayerSaved<T>::elements(shape, rows_);
  const std::int64_t floats = LayerSaved<T>::floats(shape, rows_);
  record_storage_.emplace_back(layers * elements, MemoryPart::activations);
  record_statistics_.emplace_back(layers * floats + rows_.own, MemoryPart::activations);
  Record record;
  float* statistics = record_statistics_.back().data();
  for (std::int64_t i = 0; i < layers; ++i) {
    record.layers.push_back(
        LayerSaved<T>::place(shape, rows_, record_storage_.back().data() + i * elements, statistics + i * floats));
  }
  record.rstd = {statistics + layers * floats, static_cast<std::size_t>(rows_.own)};
  return record;
}

template <class T>
const Program& NetworkOf<T>::program(Horizon horizon) const {
  const auto found = programs_.find(config_.architecture == "hrm" ? horizon.steps : 0);
  ensure(found != programs_.end(), "backward horizon outside bp_min_steps … bp_max_steps");
  return found->second;
}

template <class T>
bool NetworkOf<T>::has_gradient(int row, Horizon horizon) const {
  const Program& p = program(horizon);
  if (!weights_.table().rows[static_cast<std::size_t>(row)].trainable) {
    return false;
  }
  if (row == weights_.embedding_row()) {
    return reaches_embedding(p.steps);
  }
  if (row == weights_.head_row()) {
    return true;
  }
  return std::any_of(p.steps.begin(), p.steps.end(), [&](const Step& step) {
    const auto& layers = weights_.stack_rows(step.stack);
    return step.on && row >= layers.front().gqkv && row <= layers.back().down;
  });
}

template <class T>
std::vector<int> NetworkOf<T>::bucket_order() const {
  std::vector<int> order{weights_.embedding_bucket()};
  const auto append = [&](int bucket) {
    if (std::find(order.begin(), order.end(), bucket) == order.end()) {
      order.push_back(bucket);
    }
  };
  for (const Step& step : programs_.begin()->second.steps) {
    for (const LayerRows& rows : weights_.stack_rows(step.stack)) {
      append(rows.bucket);
    }
  }
  append(weights_.head_bucket());
  return order;
}

template <class T>
Sequences NetworkOf<T>::sequences(const PackView& pack) const {
  const auto mask = config_.attention == "causal" ? kernels::MaskType::causal : kernels::MaskType::prefixlm;
  return {{pack.cu_seqlens, pack.prefix_lens, mask}, pack.position_ids, rope_.get()};
}

template <class T>
void NetworkOf<T>::run_stack(const Program& program, int k, const Sequences& sequences, const Record& record,
                             Matrix<T> output) {
  const Step& step = program.steps[static_cast<std::size_t>(k)];
  inject<T>(
      stream_, step, weights_.zl_init(), [&](Value v) { return value(program, v); }, slot_matrix(residual_, 0));
  AttentionCall<T> attend = [&](const LayerSaved<T>& saved) {
    kernels::attention_forward<T>(stream_, sequences.layout, weights_.shape().heads, saved.q(), saved.k(), saved.v(),
                                  saved.attention, saved.lse, scratch_.attention);
  };
  stack_forward<T>(
      stream_, weights_, step.stack, sequences, [&](int) { return attend; }, feed_, slot_matrix(residual_, 0), record,
      scratch_, output);
}

template <class T>
void NetworkOf<T>::embed_tokens(const Program& program, const PackView& pack) {
  ensure(std::ssize(pack.inputs) == slots_, "pack has another number of slots than the network");
  need(weights_.embedding_bucket());
  embed<T>(stream_, weights_, pack.inputs, group(), value(program, value_x));
}

template <class T>
void NetworkOf<T>::forward(const Program& program, const PackView& pack) {
  embed_tokens(program, pack);
  const Sequences layout = sequences(pack);
  for (int k = 0; k < static_cast<int>(program.steps.size()); ++k) {
    const int saved = program.record[static_cast<std::size_t>(k)];
    const bool keep = saved >= 0 && !records_.empty() && !recompute_;
    run_stack(program, k, layout, keep ? records_[static_cast<std::size_t>(saved)] : scratch_record_,
              value(program, value_of_step(k)));
  }
  need(weights_.head_bucket());
}

template <class T>
PackSums NetworkOf<T>::evaluate(const PackView& pack) {
  const Program& p = programs_.begin()->second;
  forward(p, pack);
  return head_.evaluate(stream_, weights_, value(p, p.output()), pack.supervision, group());
}

template <class T>
Matrix<float> NetworkOf<T>::gradient(int row, GradientSink& sink) const {
  const Parameter& parameter = weights_.table().rows[static_cast<std::size_t>(row)];
  return {sink.flat().data() + parameter.offset, parameter.shape[0], parameter.shape[1]};
}

template <class T>
LayerGradients NetworkOf<T>::layer_gradients(const LayerRows& rows, GradientSink& sink) const {
  return {gradient(rows.gqkv, sink), gradient(rows.o, sink), gradient(rows.gate_up, sink), gradient(rows.down, sink)};
}

template <class T>
PackSums NetworkOf<T>::forward_backward(const PackView& pack, Horizon horizon, double divisor, GradientSink& sink) {
  const Timer timer;
  const double waited = group().waited();
  const Program& p = program(horizon);
  forward(p, pack);
  seconds_.forward = timer.seconds() - (group().waited() - waited);
  const PackSums sums =
      head_.forward_backward(stream_, weights_, value(p, p.output()), pack.supervision, divisor, group(),
                             slot_matrix(value_gradients_, 0), gradient(weights_.head_row(), sink));
  sink.done(weights_.head_row());
  backward(p, pack, sink);
  seconds_.communication = group().waited() - waited;
  return sums;
}

/// Walks the steps backwards. The gradient of z lies in slot 0 already.
template <class T>
void NetworkOf<T>::backward(const Program& program, const PackView& pack, GradientSink& sink) {
  const Sequences layout = sequences(pack);
  for (const BackwardStep& plan : program.backward) {
    const Matrix<T> d = slot_matrix(value_gradients_, plan.slot);
    backward_step(program, plan, layout, d, sink);
    for (const int slot : plan.add_to) {
      const Matrix<T> sum = slot_matrix(value_gradients_, slot);
      kernels::add<T>(stream_, sum, d, sum);
    }
    for (const int slot : plan.copy_to) {
      kernels::copy<T>(stream_, d, slot_matrix(value_gradients_, slot));
    }
  }
  if (program.embedding_gradient_slot >= 0) {
    embed_backward<T>(stream_, weights_, pack.inputs, pack.cu_seqlens.back(),
                      slot_matrix(value_gradients_, program.embedding_gradient_slot), group(), order_,
                      gradient(weights_.embedding_row(), sink));
    sink.done(weights_.embedding_row());
  }
}

/// d in place: from the gradient of the step's output to that of its stack's input.
template <class T>
void NetworkOf<T>::backward_step(const Program& program, const BackwardStep& plan, const Sequences& sequences,
                                 Matrix<T> d, GradientSink& sink) {
  const int stack = program.steps[static_cast<std::size_t>(plan.step)].stack;
  const int saved = program.record[static_cast<std::size_t>(plan.step)];
  const Matrix<T> output = value(program, value_of_step(plan.step));
  const Record& record = records_[recompute_ ? 0 : static_cast<std::size_t>(saved)];
  if (recompute_) {
    run_stack(program, plan.step, sequences, record, output);
  }
  const auto& rows = weights_.stack_rows(stack);
  BackwardHooks hooks;
  hooks.gradients = [&](int layer) { return layer_gradients(rows[static_cast<std::size_t>(layer)], sink); };
  hooks.between = [&] { sink.poll(); };
  hooks.finished = [&](int layer) {
    if (plan.last_use_of_stack) {
      const LayerRows& r = rows[static_cast<std::size_t>(layer)];
      for (const int row : {r.gqkv, r.o, r.gate_up, r.down}) {
        sink.done(row);
      }
    }
    sink.poll();
  };
  stack_backward<T>(stream_, weights_, stack, sequences, record, scratch_, output, d, hooks);
}

/// All rows of a state, of which this rank has its own.
template <class T>
std::vector<float> NetworkOf<T>::whole(Matrix<const T> state) {
  const Matrix<const T> all = group().gather(state, slots_);
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(all.rows * all.cols));
  for (std::int64_t r = 0; r < all.rows; ++r) {
    std::transform(all.row(r), all.row(r) + all.cols, std::back_inserter(out), [](T v) { return to_float(v); });
  }
  return out;
}

template <class T>
std::vector<float> NetworkOf<T>::whole_logits(Matrix<const T> z) {
  const std::int64_t columns = weights_.head().out();
  std::vector<float> own(static_cast<std::size_t>(slots_ * columns));
  const Matrix<float> logits(own.data(), slots_, columns);
  kernels::linear_forward_f32<T>(stream_, group().gather(z, slots_), weights_.head(), logits);
  if (group().alone()) {
    return own;
  }
  std::vector<float> space(own.size() * static_cast<std::size_t>(group().place().size));
  std::vector<float> all(space.size());
  group().gather_columns(stream_, logits, space, {all.data(), slots_, config_.vocab_size});
  return all;
}

template <class T>
Inspection NetworkOf<T>::inspect(const PackView& pack) {
  const Program& p = programs_.begin()->second;
  Inspection result;
  result.sums = evaluate(pack);
  const Sequences layout = sequences(pack);
  // Again, step by step: a value's slot may have been given to a later one.
  embed_tokens(p, pack);
  for (int k = 0; k < static_cast<int>(p.steps.size()); ++k) {
    run_stack(p, k, layout, scratch_record_, value(p, value_of_step(k)));
    result.trace.emplace_back(p.steps[static_cast<std::size_t>(k)].name, whole(value(p, value_of_step(k))));
  }
  result.z = result.trace.back().second;
  need(weights_.head_bucket());
  result.logits = whole_logits(value(p, p.output()));
  return result;
}

}  // namespace

std::unique_ptr<Network> Network::make(const config::ModelConfig& config, Precision precision, std::int64_t slots,
                                       Purpose purpose, bool recompute, const TensorParallel& parallel) {
  if (precision == Precision::bf16) {
    return std::make_unique<NetworkOf<bf16>>(config, slots, purpose, recompute, parallel);
  }
  return std::make_unique<NetworkOf<float>>(config, slots, purpose, recompute, parallel);
}

}  // namespace hrm::model
