#pragma once
// The network in one compute type: the interpreter of its programs with everything it works on.
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/buffer.hpp"
#include "model/network.hpp"
#include "model/pack_work.hpp"
#include "model/program.hpp"
#include "model/stack.hpp"

namespace hrm::model {

template <class T>
class NetworkOf final : public Network {
 public:
  NetworkOf(const config::ModelConfig& config, std::int64_t slots, Purpose purpose, bool recompute,
            const TensorParallel& parallel, Device& device);

  const ParameterTable& table() const override { return weights_.table(); }
  bool has_gradient(int row, Horizon horizon) const override;
  void load(std::span<const float> flat, std::span<const float> zl_init) override {
    weights_.load(stream_, flat, zl_init);
  }
  void load_bucket(int bucket, std::span<const std::byte> values) override {
    weights_.load_bucket(stream_, bucket, values);
  }
  void load_constant(std::span<const float> zl_init) override { weights_.load_constant(stream_, zl_init); }
  std::vector<std::span<const std::byte>> weight_memory(int bucket) const override { return weights_.memory(bucket); }
  std::vector<int> bucket_order() const override;
  void set_feed(WeightFeed* feed) override { feed_ = feed; }
  void forward_backward(const PackView& pack, Horizon horizon, double divisor, GradientSink& sink,
                        PackSums& sums) override;
  PackSums evaluate(const PackView& pack) override;
  Device& device() const override { return device_; }
  std::span<const float> row_losses() const override { return row_losses_; }
  PackSeconds take_seconds() override;
  void finish_exchanges() override { group().finish(); }
  Inspection inspect(const PackView& pack) override;

 private:
  using Record = StackSaved<T>;

  Record make_record(std::int64_t layers);
  const Program& program(Horizon horizon) const;
  Sequences sequences(const PackWork& pack) const;
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
  void mark(std::size_t point);
  void embed_tokens(const Program& program, const PackWork& pack);
  void forward(const Program& program, const PackWork& pack);
  void backward(const Program& program, const PackWork& pack, GradientSink& sink);
  void backward_step(const Program& program, const BackwardStep& plan, const Sequences& sequences, GradientSink& sink);
  std::vector<float> whole(Matrix<const T> state);
  std::vector<float> whole_logits(Matrix<const T> z);
  LayerGradients layer_gradients(const LayerRows& rows, GradientSink& sink) const;
  Matrix<float> gradient(int row, GradientSink& sink) const;

  Device& device_;
  Stream stream_;
  config::ModelConfig config_;
  std::int64_t slots_;
  bool recompute_;
  ModelWeights<T> weights_;
  WeightFeed* feed_ = nullptr;
  std::map<std::int64_t, Program> programs_;  // by horizon steps
  LayerScratch<T> scratch_;
  RowShare rows_;            // of a pack's slots
  kernels::RopeTable rope_;  // no positions without position embedding
  PackWorkspace work_;
  Buffer<T> values_;           // (value slots, own, D)
  Buffer<T> value_gradients_;  // (gradient slots, own, D)
  Buffer<T> residual_;         // (own, D): the running stack's residual stream
  std::vector<Buffer<T>> record_storage_;
  std::vector<Buffer<float>> record_statistics_;
  std::vector<Record> records_;  // of differentiated steps; with recomputation one, made again in the backward pass
  Record scratch_record_;        // one layer, for steps without gradient
  Head<T> head_;
  Buffer<float> partials_;                   // of the embedding's gradient, on devices only
  Buffer<PackSums> sums_;                    // (1): of an evaluated pack
  std::vector<float> row_losses_;            // of an evaluated pack
  PackSeconds seconds_;                      // since take_seconds, on the host
  std::vector<std::array<Event, 3>> marks_;  // of packs on a device: begin, end of forward, end
  std::size_t marked_ = 0;                   // packs since take_seconds
};

}  // namespace hrm::model
