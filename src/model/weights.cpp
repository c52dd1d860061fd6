#include "model/weights.hpp"

#include "base/error.hpp"
#include "kernels/elementwise.hpp"
#include "model/parameters.hpp"

namespace hrm::model {
namespace {

std::span<const float> part(std::span<const float> flat, const Parameter& row) {
  return flat.subspan(static_cast<std::size_t>(row.offset), static_cast<std::size_t>(row.count()));
}

}  // namespace

template <class T>
ModelWeights<T>::ModelWeights(const config::ModelConfig& config, bool backward)
    : table_(parameter_table(config)),
      shape_(LayerShape::of(config)),
      head_(config.vocab_size, config.hidden_size, backward),
      embed_scale_(static_cast<float>(config.embed_scale)) {
  int row = 2;  // behind embed_tokens and lm_head
  for (std::size_t s = 0; s < stack_names(config).size(); ++s) {
    stacks_.emplace_back();
    rows_.emplace_back();
    for (std::int64_t layer = 0; layer < config.stack_layers(); ++layer, row += 4) {
      stacks_.back().emplace_back(shape_, backward);
      rows_.back().push_back({row, row + 1, row + 2, row + 3});
    }
  }
  if (config.architecture != "transformer") {
    zl_init_ = Buffer<T>(config.hidden_size, MemoryPart::weights);
  }
}

template <class T>
void ModelWeights<T>::load(Stream stream, std::span<const float> flat, std::span<const float> zl_init) {
  ensure(static_cast<std::int64_t>(flat.size()) >= table_.flat_size, "flat array of weights is too short");
  ensure(static_cast<std::int64_t>(zl_init.size()) == zl_init_.size(), "zL_init has the wrong size");
  const auto master = [&](int row) { return part(flat, table_.rows[static_cast<std::size_t>(row)]); };
  embedding_ = {master(embedding_row()).data(), head_.out(), head_.in()};
  head_.load(stream, master(head_row()));
  for (std::size_t s = 0; s < stacks_.size(); ++s) {
    for (std::size_t layer = 0; layer < stacks_[s].size(); ++layer) {
      stacks_[s][layer].gqkv.load(stream, master(rows_[s][layer].gqkv));
      stacks_[s][layer].o.load(stream, master(rows_[s][layer].o));
      stacks_[s][layer].gate_up.load(stream, master(rows_[s][layer].gate_up));
      stacks_[s][layer].down.load(stream, master(rows_[s][layer].down));
    }
  }
  kernels::cast<T>(stream, zl_init, zl_init_.span());
}

template class ModelWeights<float>;
template class ModelWeights<bf16>;

}  // namespace hrm::model
