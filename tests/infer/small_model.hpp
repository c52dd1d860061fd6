#pragma once
#include <string>
#include <vector>

#include "config/resolve.hpp"
#include "infer/loaded_model.hpp"
#include "model/parameters.hpp"
#include "tests/text/small_tokenizer.hpp"

namespace hrm::infer::test {

/// A tokenizer with the special tokens and every byte.
inline text::Tokenizer small_tokenizer() {
  return text::test::train_small({"one two three", "a question and its answer"}, 300);
}

/// An HRM with random weights; its answers are noise, but always the same noise.
struct SmallModel {
  text::Tokenizer tokenizer = small_tokenizer();
  config::ModelConfig config;
  std::vector<float> flat;
  std::vector<float> zl_init;

  explicit SmallModel(std::int64_t max_seq_len = 48) {
    config.layers = 2;
    config.hidden_size = 32;
    config.num_heads = 2;
    config.intermediate_multiple = 32;
    config.max_seq_len = max_seq_len;
    config = config::complete_model(config, tokenizer.vocab_size());
    const ParameterTable table = model::parameter_table(config);
    flat.resize(static_cast<std::size_t>(table.flat_size));
    zl_init.resize(32);
    for (const Parameter& row : table.rows) {
      const std::span<float> target = row.trainable ? std::span(flat).subspan(static_cast<std::size_t>(row.offset),
                                                                              static_cast<std::size_t>(row.count()))
                                                    : std::span(zl_init);
      model::initial_values(row, 11, 0, target);
    }
  }

  Model view() const {
    return {config, Precision::fp32, tokenizer, [this](model::Decoder& decoder) { decoder.load(flat, zl_init); }};
  }
};

}  // namespace hrm::infer::test
