#include "model/network_of.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/timer.hpp"
#include "kernels/elementwise.hpp"
#include "model/embedding.hpp"
#include "model/inject.hpp"

namespace hrm::model {
namespace {

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

}  // namespace

template <class T>
NetworkOf<T>::NetworkOf(const config::ModelConfig& config, std::int64_t slots, Purpose purpose, bool recompute,
                        const TensorParallel& parallel, Device& device)
    : device_(device),
      stream_(device.compute()),
      config_(config),
      slots_(slots),
      recompute_(recompute),
      weights_(config, parallel.place(), purpose == Purpose::training, device),
      programs_(make_programs(config, recompute)),
      scratch_(weights_.shape(), parallel, slots, std::min(slots, config.max_seq_len), purpose == Purpose::training,
               device),
      rows_(group().share(slots)),
      rope_(weights_.shape().rope ? std::min(slots, config.max_seq_len) : 0, config.head_dim(), config.rope_theta,
            device),
      work_(slots, mask_of(config), purpose == Purpose::training, device),
      residual_(rows_.own * config.hidden_size, MemoryPart::activations, device.memory()),
      head_(weights_, parallel.place(), slots, purpose == Purpose::training, device),
      sums_(1, MemoryPart::workspace, device.staging()) {
  const std::int64_t state = rows_.own * config.hidden_size;
  values_ = Buffer<T>(most(programs_, &Program::value_slots) * state, MemoryPart::activations, device.memory());
  scratch_record_ = make_record(1);
  if (purpose == Purpose::training) {
    value_gradients_ =
        Buffer<T>(most(programs_, &Program::gradient_slots) * state, MemoryPart::activations, device.memory());
    partials_ = Buffer<float>(device.is_host() ? 0 : kernels::embedding_partial_rows(slots) * config.hidden_size,
                              MemoryPart::workspace, device.memory());
    const int records = recompute ? 1 : most(programs_, &Program::records);
    for (int i = 0; i < records; ++i) {
      records_.push_back(make_record(config.stack_layers()));
    }
  }
  row_losses_.reserve(static_cast<std::size_t>(slots));
  prepare_layer_products<T>(weights_.shape(), slots_, purpose == Purpose::training, device.type());
}

template <class T>
StackSaved<T> NetworkOf<T>::make_record(std::int64_t layers) {
  const LayerShape& shape = weights_.shape();
  const std::int64_t elements = LayerSaved<T>::elements(shape, rows_);
  const std::int64_t floats = LayerSaved<T>::floats(shape, rows_);
  record_storage_.emplace_back(layers * elements, MemoryPart::activations, device_.memory());
  record_statistics_.emplace_back(layers * floats + rows_.own, MemoryPart::activations, device_.memory());
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
Sequences NetworkOf<T>::sequences(const PackWork& pack) const {
  return {pack.layout, pack.position_ids, weights_.shape().rope ? kernels::RopeAngles(rope_) : kernels::RopeAngles{}};
}

template <class T>
void NetworkOf<T>::run_stack(const Program& program, int k, const Sequences& sequences, const Record& record,
                             Matrix<T> output) {
  const Step& step = program.steps[static_cast<std::size_t>(k)];
  const bool pre_norm = !weights_.shape().post_norm;
  const Matrix<T> residual = slot_matrix(residual_, 0);
  const std::function<Matrix<T>(Value)> operand = [&](Value v) { return value(program, v); };
  if (pre_norm) {
    inject_and_norm<T>(stream_, step, weights_.zl_init(), operand, weights_.shape().norm_eps, residual,
                       record.layers.front());
  } else {
    inject<T>(stream_, step, weights_.zl_init(), operand, residual);
  }
  AttentionCall<T> attend = [&](const LayerSaved<T>& saved) {
    kernels::attention_forward<T>(stream_, sequences.layout, weights_.shape().heads, saved.q(), saved.k(), saved.v(),
                                  saved.attention, saved.lse, scratch_.attention);
  };
  stack_forward<T>(
      stream_, weights_, step.stack, sequences, [&](int) { return attend; }, feed_, residual, record, scratch_, output,
      pre_norm);
}

template <class T>
void NetworkOf<T>::embed_tokens(const Program& program, const PackWork& pack) {
  ensure(std::ssize(pack.inputs) == slots_, "pack has another number of slots than the network");
  need(weights_.embedding_bucket());
  embed<T>(stream_, weights_, pack.inputs, group(), value(program, value_x));
}

template <class T>
void NetworkOf<T>::forward(const Program& program, const PackWork& pack) {
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
  const PackWork& work = work_.prepare(pack);
  forward(p, work);
  head_.evaluate(stream_, weights_, value(p, p.output()), work, group(), sums_[0]);
  const std::span<const float> losses = head_.row_losses();
  row_losses_.resize(losses.size());
  device_.copy(stream_, row_losses_.data(), losses.data(), losses.size_bytes());
  finish_exchanges();
  device_.wait(stream_);
  return sums_[0];
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
void NetworkOf<T>::forward_backward(const PackView& pack, Horizon horizon, double divisor, GradientSink& sink,
                                    PackSums& sums) {
  const Timer timer;
  const double waited = group().waited();
  const Program& p = program(horizon);
  const PackWork& work = work_.prepare(pack);
  mark(0);
  {
    const DeviceRange range(device_, "forward");
    forward(p, work);
  }
  mark(1);
  const DeviceRange range(device_, "head and backward");
  const double forward_seconds = timer.seconds() - (group().waited() - waited);
  head_.forward_backward(stream_, weights_, value(p, p.output()), work, divisor, group(),
                         slot_matrix(value_gradients_, 0), gradient(weights_.head_row(), sink), sums);
  sink.done(weights_.head_row());
  backward(p, work, sink);
  mark(2);
  ++marked_;
  const double exchanging = group().waited() - waited;
  seconds_.forward += forward_seconds;
  seconds_.backward += timer.seconds() - forward_seconds - exchanging;
  seconds_.communication += exchanging;
}

/// Point 0, 1 or 2 of the current pack, on devices.
template <class T>
void NetworkOf<T>::mark(std::size_t point) {
  if (device_.is_host()) {
    return;
  }
  if (marked_ == marks_.size()) {
    marks_.push_back({device_.make_event(), device_.make_event(), device_.make_event()});
  }
  device_.record(marks_[marked_][point], stream_);
}

template <class T>
PackSeconds NetworkOf<T>::take_seconds() {
  if (!device_.is_host()) {
    seconds_ = {};  // of the host; an exchange of the tensor group is part of a device's forward or backward pass
    for (std::size_t i = 0; i < marked_; ++i) {
      seconds_.forward += device_.seconds(marks_[i][0], marks_[i][1]);
      seconds_.backward += device_.seconds(marks_[i][1], marks_[i][2]);
    }
  }
  marked_ = 0;
  return std::exchange(seconds_, {});
}

/// Walks the steps backwards. The gradient of z lies in slot 0 already.
template <class T>
void NetworkOf<T>::backward(const Program& program, const PackWork& pack, GradientSink& sink) {
  const Sequences layout = sequences(pack);
  for (const BackwardStep& plan : program.backward) {
    backward_step(program, plan, layout, sink);
  }
  if (program.embedding_gradient_slot >= 0) {
    embed_backward<T>(stream_, weights_, pack.order, slots_,
                      slot_matrix(value_gradients_, program.embedding_gradient_slot), group(), partials_.span(),
                      gradient(weights_.embedding_row(), sink));
    sink.done(weights_.embedding_row());
  }
}

/// The plan's slot in place: from the gradient of the step's output to that of its stack's input, merged as planned.
template <class T>
void NetworkOf<T>::backward_step(const Program& program, const BackwardStep& plan, const Sequences& sequences,
                                 GradientSink& sink) {
  const Matrix<T> d = slot_matrix(value_gradients_, plan.slot);
  Merge<T> merge;
  for (const int slot : plan.add_to) {
    merge.add_to(slot_matrix(value_gradients_, slot));
  }
  for (const int slot : plan.copy_to) {
    merge.copy_to(slot_matrix(value_gradients_, slot));
  }
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
  stack_backward<T>(stream_, weights_, stack, sequences, record, scratch_, output, d, merge, hooks);
}

template class NetworkOf<float>;
template class NetworkOf<bf16>;

std::unique_ptr<Network> Network::make(const config::ModelConfig& config, Precision precision, std::int64_t slots,
                                       Purpose purpose, bool recompute, const TensorParallel& parallel,
                                       Device& device) {
  if (precision == Precision::bf16) {
    return std::make_unique<NetworkOf<bf16>>(config, slots, purpose, recompute, parallel, device);
  }
  return std::make_unique<NetworkOf<float>>(config, slots, purpose, recompute, parallel, device);
}

PackSums Network::forward_backward(const PackView& pack, Horizon horizon, double divisor, GradientSink& sink) {
  Buffer<PackSums> sums(1, MemoryPart::workspace, device().staging());
  forward_backward(pack, horizon, divisor, sink, sums[0]);
  finish_exchanges();
  device().wait(device().compute());
  return sums[0];
}

}  // namespace hrm::model
