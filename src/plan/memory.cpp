#include "plan/memory.hpp"

#include <algorithm>

#include "base/bf16.hpp"
#include "base/round.hpp"
#include "comm/flat_shards.hpp"
#include "comm/gradient_tree.hpp"
#include "io/checkpoint_writer.hpp"
#include "kernels/attention.hpp"
#include "kernels/cross_entropy.hpp"
#include "kernels/matmul.hpp"
#include "model/head.hpp"
#include "model/layer.hpp"
#include "model/parameters.hpp"
#include "model/program.hpp"
#include "model/tensor_group.hpp"

namespace hrm::plan {
namespace {

constexpr std::int64_t float_bytes = sizeof(float);

/// Buffers of the deepest of all horizons.
struct Depth {
  std::int64_t value_slots = 0;
  std::int64_t records = 0;
  std::int64_t gradient_slots = 0;
};

Depth depth(const config::RunConfig& config) {
  Depth most;
  for (const model::Horizon horizon : model::horizons(config.model)) {
    const model::Program program = model::make_program(config.model, horizon, config.train.recompute);
    most.value_slots = std::max<std::int64_t>(most.value_slots, program.value_slots);
    most.records = std::max<std::int64_t>(most.records, program.records);
    most.gradient_slots = std::max<std::int64_t>(most.gradient_slots, program.gradient_slots);
  }
  return most;
}

template <class T>
class Estimate {
 public:
  Estimate(const config::RunConfig& config, const RankPlace& place)
      : config_(config),
        place_(place),
        table_(model::parameter_table(config.model, place.tensor)),
        shape_(model::LayerShape::of(config.model, place.tensor)),
        written_(table_.buckets, place.data_rank, place.data_ranks),
        rows_(model::TensorGroup<T>::share(place.tensor, config.parallel.sequence, config.train.pack_tokens)) {}

  Memory memory() const {
    Memory memory;
    memory[MemoryPart::weights] = weights();
    memory[MemoryPart::gradients] = table_.flat_size * float_bytes;
    memory[MemoryPart::tree] = tree() - memory[MemoryPart::gradients];
    memory[MemoryPart::optimizer] = owned() * states() * float_bytes;
    memory[MemoryPart::activations] = activations();
    memory[MemoryPart::workspace] = workspace();
    const comm::PackRange share = comm::pack_share(config_.train.packs, place_.data_rank, place_.data_ranks);
    memory[MemoryPart::data] = 2 * share.count() * 2 * slots() * static_cast<std::int64_t>(sizeof(std::int32_t));
    return memory;
  }

  std::int64_t saving() const {
    const std::int64_t copied = config_.checkpoint.async ? written_.size() * (1 + states()) * float_bytes : 0;
    return std::min(config_.checkpoint.staging_bytes, copied) + io::save_bounce_bytes;
  }

 private:
  static constexpr std::int64_t element = sizeof(T);
  std::int64_t slots() const { return config_.train.pack_tokens; }
  int states() const { return 1 + (config_.train.beta1 > 0 ? 1 : 0) + (config_.train.ema > 0 ? 1 : 0); }
  std::int64_t owned() const { return config_.parallel.zero > 0 ? written_.size() : table_.flat_size; }

  std::int64_t weights() const {
    std::int64_t largest = 0;
    for (const Bucket& bucket : table_.buckets) {
      largest = std::max(largest, bucket.range.count());
    }
    const bool alone = config_.parallel.zero == 0 || place_.data_ranks == 1;
    const std::int64_t on_their_way = alone ? (element == float_bytes ? 0 : 1) : 2;
    // On the host products read every matrix in two orientations; the embedding is none.
    const std::int64_t second_copies =
        place_.device == DeviceType::cpu ? table_.flat_size - table_.rows.front().count() : 0;
    return owned() * float_bytes + (table_.flat_size + second_copies + on_their_way * largest) * element;
  }

  std::int64_t tree() const {
    comm::ReductionOptions options;
    options.deterministic = config_.train.deterministic;
    return comm::GradientTree::bytes(config_.train.packs, table_.buckets, place_.data_rank, place_.data_ranks, options);
  }

  std::int64_t activations() const {
    const Depth most = depth(config_);
    const std::int64_t records = config_.train.recompute ? 1 : most.records;
    const std::int64_t record = model::LayerSaved<T>::elements(shape_, rows_) * element +
                                model::LayerSaved<T>::floats(shape_, rows_) * float_bytes;
    const std::int64_t norms = rows_.own * float_bytes;
    const std::int64_t states = 1 + most.value_slots + most.gradient_slots;
    return states * rows_.own * shape_.width * element + records * (config_.model.stack_layers() * record + norms) +
           record + norms;
  }

  /// Scratch of attention, and on devices of the embedding's gradient.
  std::int64_t attention(std::int64_t longest) const {
    if (place_.device == DeviceType::cpu) {
      return kernels::AttentionWorkspace::floats(longest, shape_.head_dim) * place_.threads * float_bytes;
    }
    return (shape_.heads * slots() + kernels::embedding_partial_rows(slots()) * shape_.width) * float_bytes;
  }

  std::int64_t workspace() const {
    const std::int64_t longest = std::min(slots(), config_.model.max_seq_len);
    return model::LayerScratch<T>::elements(shape_, rows_, true) * element +
           model::TensorGroup<T>::elements(place_.tensor, config_.parallel.sequence, slots(), shape_.width) * element +
           attention(longest) +
           model::Head<T>::bytes(config_.model.vocab_size / place_.tensor.size, shape_.width, place_.tensor, slots(),
                                 place_.device) +
           (shape_.rope ? longest * shape_.head_dim * float_bytes : 0);
  }

  const config::RunConfig& config_;
  RankPlace place_;
  ParameterTable table_;
  model::LayerShape shape_;
  comm::FlatShards written_;
  model::RowShare rows_;
};

}  // namespace

Memory training_memory(const config::RunConfig& config, Precision precision, const RankPlace& place) {
  return precision == Precision::bf16 ? Estimate<bf16>(config, place).memory()
                                      : Estimate<float>(config, place).memory();
}

std::int64_t saving_memory(const config::RunConfig& config, const RankPlace& place) {
  return Estimate<float>(config, place).saving();
}

}  // namespace hrm::plan
